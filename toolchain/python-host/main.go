// pulumi-language-python runs Pulumi programs, policy packs and plugins that are written in Python.
//
// Pulumi's own host is in no module of the registry since 3.79.0, which knows neither policy packs nor
// PulumiPlugin.yaml. This one speaks the protocol of the SDK's version and leaves what concerns virtual environments to
// the SDK's `python/toolchain`. It generates no code: `pulumi new`, `convert` and `package add` want the official host.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/cmdutil"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/logging"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	"github.com/pulumi/pulumi/sdk/v3/go/common/version"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/pulumi/pulumi/sdk/v3/python/toolchain"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	// The SDK's script that runs a program; it lies beside this one.
	executor = "pulumi-language-python-exec"
	// The executor has told the user what is wrong.
	exitAfterMessage = 32
	engineSilence    = 5 * time.Minute
)

// Prints the packages of the environment that have a plugin, as JSON.
//
//go:embed packages.py
var listPackages string

type host struct {
	pulumirpc.UnimplementedLanguageRuntimeServer
	engine string
}

func main() {
	flag.String("tracing", "", "ignored")
	flag.String("root", "", "ignored: requests say it")
	flag.String("virtualenv", "", "ignored: requests say it")
	flag.Parse()
	logging.InitLogging(false, 0, false)
	if err := serve(flag.Arg(0)); err != nil {
		cmdutil.Exit(err)
	}
}

func serve(engine string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop := make(chan bool)
	go func() {
		<-ctx.Done()
		close(stop)
	}()
	if engine != "" {
		if err := rpcutil.Healthcheck(ctx, engine, engineSilence, cancel); err != nil {
			return fmt.Errorf("health check of the engine: %w", err)
		}
	}
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: stop,
		Init: func(server *grpc.Server) error {
			pulumirpc.RegisterLanguageRuntimeServer(server, &host{engine: engine})
			return nil
		},
	})
	if err != nil {
		return fmt.Errorf("language host: %w", err)
	}
	fmt.Printf("%d\n", handle.Port) // how the engine learns it
	return <-handle.Done
}

func (h *host) Handshake(
	_ context.Context, request *pulumirpc.LanguageHandshakeRequest,
) (*pulumirpc.LanguageHandshakeResponse, error) {
	h.engine = request.EngineAddress
	return &pulumirpc.LanguageHandshakeResponse{}, nil
}

func (h *host) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: version.Version}, nil
}

// tools finds the environment that a program runs in: what `runtime.options` of its project file say, else `python` of PATH.
func tools(info *pulumirpc.ProgramInfo) (toolchain.Toolchain, error) {
	options := toolchain.PythonOptions{
		Root: info.GetRootDirectory(), ProgramDir: info.GetProgramDirectory(), Toolchain: toolchain.Pip,
	}
	given := info.GetOptions().AsMap()
	options.Virtualenv, _ = given["virtualenv"].(string)
	switch name := given["toolchain"]; name {
	case nil, "pip":
	case "poetry":
		options.Toolchain = toolchain.Poetry
	case "uv":
		options.Toolchain = toolchain.Uv
	default:
		return nil, fmt.Errorf("runtime.options.toolchain: must be pip, poetry or uv (got %v)", name)
	}
	found, err := toolchain.ResolveToolchain(options)
	if err != nil {
		return nil, err
	}
	return found, found.ValidateVenv(context.Background())
}

func (h *host) GetRequiredPackages(
	ctx context.Context, request *pulumirpc.GetRequiredPackagesRequest,
) (*pulumirpc.GetRequiredPackagesResponse, error) {
	found, err := tools(request.Info)
	if err != nil {
		return nil, err
	}
	command, err := found.Command(ctx, "-c", listPackages)
	if err != nil {
		return nil, err
	}
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages that have a plugin: %w", explained(err))
	}
	response := &pulumirpc.GetRequiredPackagesResponse{}
	if err := json.Unmarshal(output, &response.Packages); err != nil {
		return nil, fmt.Errorf("list the packages that have a plugin: %w", err)
	}
	return response, nil
}

func (h *host) GetProgramDependencies(
	ctx context.Context, request *pulumirpc.GetProgramDependenciesRequest,
) (*pulumirpc.GetProgramDependenciesResponse, error) {
	found, err := tools(request.Info)
	if err != nil {
		return nil, err
	}
	packages, err := found.ListPackages(ctx, request.TransitiveDependencies)
	if err != nil {
		return nil, err
	}
	response := &pulumirpc.GetProgramDependenciesResponse{}
	for _, known := range packages {
		response.Dependencies = append(
			response.Dependencies, &pulumirpc.DependencyInfo{Name: known.Name, Version: known.Version},
		)
	}
	return response, nil
}

func (h *host) About(ctx context.Context, request *pulumirpc.AboutRequest) (*pulumirpc.AboutResponse, error) {
	found, err := tools(request.Info)
	if err != nil {
		return nil, err
	}
	about, err := found.About(ctx)
	if err != nil {
		return nil, err
	}
	return &pulumirpc.AboutResponse{
		Executable: about.PythonExecutable, Version: about.PythonVersion.String(),
	}, nil
}

func (h *host) InstallDependencies(
	request *pulumirpc.InstallDependenciesRequest, server pulumirpc.LanguageRuntime_InstallDependenciesServer,
) error {
	closer, stdout, stderr, err := rpcutil.MakeInstallDependenciesStreams(server, request.IsTerminal)
	if err != nil {
		return err
	}
	defer closer.Close()
	found, err := tools(request.Info)
	if err != nil {
		return err
	}
	err = found.InstallDependencies(
		server.Context(), request.Info.ProgramDirectory, request.UseLanguageVersionTools, true, stdout, stderr,
	)
	if err != nil {
		return err
	}
	return closer.Close()
}

// Run runs a program to its end. Its output is the host's own, which the engine shows.
func (h *host) Run(ctx context.Context, request *pulumirpc.RunRequest) (*pulumirpc.RunResponse, error) {
	found, err := tools(request.Info)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	arguments := []string{"-u", filepath.Join(filepath.Dir(self), executor)}
	for _, option := range [][2]string{
		{"monitor", request.MonitorAddress},
		{"engine", h.engine},
		{"project", request.Project},
		{"root_directory", request.Info.GetRootDirectory()},
		{"stack", request.Stack},
		{"pwd", request.Pwd},
		{"dry_run", fmt.Sprint(request.DryRun)},
		{"parallel", fmt.Sprint(request.Parallel)},
		{"organization", request.Organization},
	} {
		if option[1] != "" {
			arguments = append(arguments, "--"+option[0], option[1])
		}
	}
	arguments = append(arguments, filepath.Join(request.Info.GetProgramDirectory(), request.Info.GetEntryPoint()))
	command, err := found.Command(ctx, append(arguments, request.Args...)...)
	if err != nil {
		return nil, err
	}
	settings, err := environment(request)
	if err != nil {
		return nil, err
	}
	command.Env = append(orOurs(command.Env), settings...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	switch code, err := exitCode(command.Run()); {
	case err != nil:
		return nil, fmt.Errorf("run the program: %w", err)
	case code == exitAfterMessage:
		return &pulumirpc.RunResponse{Bail: true}, nil
	case code != 0:
		return &pulumirpc.RunResponse{Error: fmt.Sprintf("program exited with non-zero exit code: %d", code)}, nil
	}
	return &pulumirpc.RunResponse{}, nil
}

// environment is how a program gets its configuration: the SDK reads these two.
func environment(request *pulumirpc.RunRequest) ([]string, error) {
	config, err := json.Marshal(orEmpty(request.Config, map[string]string{}))
	if err != nil {
		return nil, err
	}
	secret, err := json.Marshal(orEmpty(request.ConfigSecretKeys, []string{}))
	if err != nil {
		return nil, err
	}
	return []string{"PULUMI_CONFIG=" + string(config), "PULUMI_CONFIG_SECRET_KEYS=" + string(secret)}, nil
}

// RunPlugin runs a policy pack, by the SDK's own module, or a provider or component plugin, by its `__main__.py`.
func (h *host) RunPlugin(
	request *pulumirpc.RunPluginRequest, server pulumirpc.LanguageRuntime_RunPluginServer,
) error {
	closer, stdout, stderr, err := rpcutil.MakeRunPluginStreams(server, false)
	if err != nil {
		return err
	}
	defer closer.Close()
	found, err := tools(request.Info)
	if err != nil {
		return err
	}
	program := filepath.Join(request.Info.GetProgramDirectory(), request.Info.GetEntryPoint())
	arguments := append([]string{"-u", program}, request.Args...)
	if request.Kind == "analyzer" {
		arguments = append(append([]string{"-u", "-m", "pulumi.policy"}, request.Args...), program)
	}
	command, err := found.Command(server.Context(), arguments...)
	if err != nil {
		return err
	}
	command.Dir = request.Pwd
	command.Env = append(orOurs(command.Env), request.Env...)
	command.Stdout, command.Stderr = stdout, stderr
	code, err := exitCode(command.Run())
	if err != nil {
		return fmt.Errorf("run the plugin: %w", err)
	}
	if code != 0 {
		ended := &pulumirpc.RunPluginResponse_Exitcode{Exitcode: int32(code)}
		return server.Send(&pulumirpc.RunPluginResponse{Output: ended})
	}
	return closer.Close()
}

// exitCode tells how a program has ended; an error only where it could not be run.
func exitCode(err error) (int, error) {
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return ended.ExitCode(), nil
	}
	return 0, err
}

// explained is an error with what the program has said.
func explained(err error) error {
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return fmt.Errorf("%w: %s", err, ended.Stderr)
	}
	return err
}

func orOurs(given []string) []string {
	if given == nil {
		return os.Environ()
	}
	return given
}

func orEmpty[T map[string]string | []string](given, empty T) T {
	if len(given) == 0 {
		return empty
	}
	return given
}
