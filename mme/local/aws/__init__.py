"""All else of AWS: moto in a process of its own, S3 as folders, CloudWatch, and the way there."""
