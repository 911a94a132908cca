"""SageMaker's control plane: models, configurations, endpoints, their checks, scaling."""
