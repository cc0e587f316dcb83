"""What `pulumi-mlflow users` needs of a stack: passwords in the state, users in its settings, outputs."""

import pulumi

from pulumi_mlflow.generated import GeneratedSecret

access = pulumi.Config("mlflow").require_object("access")
keep = pulumi.ResourceOptions(protect=False)
passwords = {access["username"]: GeneratedSecret("proxy-login").value}
for user in access.get("users", []):
    passwords[user] = GeneratedSecret(f"proxy-login-{user}", opts=keep).value
for name in ("proxy-salt", "tracking-kek", "tracking-admin"):
    GeneratedSecret(name, opts=keep)
pulumi.export("tracking_uri", "http://127.0.0.1:9")
pulumi.export("runtime", "docker")
pulumi.export("auth_mode", access["auth"])
pulumi.export("username", access["username"])
pulumi.export("password", passwords[access["username"]])
if access.get("users"):
    pulumi.export("users", pulumi.Output.secret(passwords))
