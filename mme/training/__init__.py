"""Training at scale: the image as a SageMaker training container, and the jobs that run it."""
