"""The code of the 2019 post on multi-model endpoints, as it ran on AWS; nothing in it is local."""

import json
import sys
import time
from pathlib import Path

import boto3

BUCKET, PREFIX = "my-bucket", "path/to/artifacts/"
NAME = "house-prices"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/xgboost-mme:latest"
ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"
HOUSE = [1994, 3188, 5, 1.5, 1.62, 3]

models = Path(sys.argv[1])
s3 = boto3.client("s3")
sagemaker = boto3.client("sagemaker")
runtime = boto3.client("sagemaker-runtime")

s3.create_bucket(Bucket=BUCKET)
for archive in sorted(models.glob("*.tar.gz")):
    if archive.name == "NewYork_NY.tar.gz":
        s3.upload_file(str(archive), BUCKET, f"elsewhere/{archive.name}")
    else:
        s3.upload_file(str(archive), BUCKET, PREFIX + archive.name)

sagemaker.create_model(
    ModelName=NAME,
    ExecutionRoleArn=ROLE,
    Containers=[{"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/{PREFIX}", "Mode": "MultiModel"}],
)
sagemaker.create_endpoint_config(
    EndpointConfigName=NAME,
    ProductionVariants=[
        {
            "InstanceType": "ml.m4.xlarge",
            "InitialInstanceCount": 2,
            "InitialVariantWeight": 1,
            "ModelName": NAME,
            "VariantName": "AllTraffic",
        }
    ],
)
sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=NAME)


def predict_one_house_value(features: list[float], model_name: str) -> None:
    """Ask one city's model, and print what it says."""
    print(f"Using model {model_name} to predict price of this house: {features}")  # noqa: T201  # as its users write it
    body = ",".join(map(str, features)) + "\n"
    start_time = time.time()
    response = runtime.invoke_endpoint(
        EndpointName=NAME, ContentType="text/csv", TargetModel=model_name, Body=body
    )
    predicted_value = json.loads(response["Body"].read())[0]
    duration = time.time() - start_time
    print(f"${predicted_value:,.2f}, took {int(duration * 1000):,d} ms\n")  # noqa: T201  # as its users write it


for city in ("Houston_TX", "Houston_TX", "Chicago_IL", "Chicago_IL"):
    predict_one_house_value(HOUSE, f"{city}.tar.gz")

# A city that is added while the endpoint runs.
s3.copy(
    {"Bucket": BUCKET, "Key": "elsewhere/NewYork_NY.tar.gz"}, BUCKET, PREFIX + "NewYork_NY.tar.gz"
)
predict_one_house_value(HOUSE, "NewYork_NY.tar.gz")
