"""A resource provider that stands in for `aws` and `kubernetes` where there is no account: see README.md."""
