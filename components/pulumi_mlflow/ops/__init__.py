"""What runs after `pulumi up`: the command line `pulumi-mlflow`."""
