// pulumi-resource-docker is the Docker provider for machines that cannot download the official one.
//
// Its module path lies below the Terraform provider's own on purpose: Go lets only code from there
// import that provider's internal packages, so no patched copy of it is needed.
package main

import "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"

// version is set by the linker to that of the Python package pulumi-docker, which it must match.
var version = "0.0.0-dev"

// emptySchema is enough at run time; a schema is only needed to generate SDKs, and ours come from PyPI.
const emptySchema = `{"name": "docker"}`

func main() {
	tfbridge.Main("docker", version, providerInfo(version), []byte(emptySchema))
}
