"""MLflow in an AWS account: RDS, S3 and ECS Fargate behind a load balancer."""
