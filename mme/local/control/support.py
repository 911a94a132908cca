"""The level of support: for each operation of SageMaker, and each field of those that are ours.

The control plane refuses by this table, and docs/11-level-of-support.md is made from it. It names
what is taken; whatever else AWS has, or will have, is refused.
"""

import enum
from collections.abc import Mapping
from typing import Any

from botocore.model import ListShape, StructureShape

from mme.local.control.validation import SAGEMAKER, SAGEMAKER_RUNTIME, operation_model, service


class Level(enum.Enum):
    """What becomes of an operation or a field."""

    REAL = "real"  # has its effect here
    KEPT = "kept"  # is stored and described, and has no effect
    MOTO = "moto"  # moto answers
    REFUSED = "refused"  # is an error that says so


def _fields(real: str, kept: str = "") -> dict[str, Level]:
    """Paths of fields; one stands for all below it."""
    return dict.fromkeys(real.split(), Level.REAL) | dict.fromkeys(kept.split(), Level.KEPT)


def _container(at: str) -> dict[str, Level]:
    real = ("Image", "Mode", "ModelDataUrl", "Environment", "MultiModelConfig.ModelCacheSetting")
    kept = ("ContainerHostname", "ImageConfig")
    levels = dict.fromkeys(real, Level.REAL) | dict.fromkeys(kept, Level.KEPT)
    return {f"{at}.{name}": level for name, level in levels.items()}


_LIST = "SortBy SortOrder NextToken MaxResults NameContains CreationTimeBefore CreationTimeAfter"
_VARIANT = """
    VariantName ModelName InitialInstanceCount InstanceType InitialVariantWeight VolumeSizeInGB
    ContainerStartupHealthCheckTimeoutInSeconds
"""
_KEPT_OF_A_VARIANT = """
    RoutingConfig.RoutingStrategy InferenceAmiVersion EnableSSMAccess
    ModelDataDownloadTimeoutInSeconds
    VariantInstanceProvisionTimeoutInSeconds
"""


_INVOKE = "EndpointName Body ContentType Accept CustomAttributes TargetVariant InferenceId"


_SOURCE = "InputDataConfig.DataSource.S3DataSource"
_TRAINING = f"""
    TrainingJobName HyperParameters Environment
    AlgorithmSpecification.TrainingInputMode AlgorithmSpecification.MetricDefinitions
    InputDataConfig.ChannelName InputDataConfig.ContentType InputDataConfig.InputMode
    {_SOURCE}.S3DataType {_SOURCE}.S3Uri {_SOURCE}.S3DataDistributionType
    OutputDataConfig.S3OutputPath OutputDataConfig.CompressionType
    ResourceConfig.InstanceType ResourceConfig.InstanceCount
    StoppingCondition.MaxRuntimeInSeconds CheckpointConfig.S3Uri
"""
_KEPT_OF_TRAINING = """
    RoleArn Tags VpcConfig EnableNetworkIsolation EnableInterContainerTrafficEncryption
    EnableManagedSpotTraining StoppingCondition.MaxWaitTimeInSeconds RetryStrategy
    AlgorithmSpecification.TrainingImage InputDataConfig.CompressionType
    InputDataConfig.RecordWrapperType OutputDataConfig.KmsKeyId ResourceConfig.VolumeSizeInGB
    ResourceConfig.VolumeKmsKeyId
"""


def _of_variants(names: str) -> str:
    return " ".join(f"ProductionVariants.{name}" for name in names.split())


# Operations that we answer, with the fields that we take.
OURS: Mapping[str, Mapping[str, Level]] = {
    "CreateModel": {
        "ModelName": Level.REAL,
        **_container("PrimaryContainer"),
        **_container("Containers"),
        **_fields("", "ExecutionRoleArn Tags VpcConfig EnableNetworkIsolation"),
    },
    "DescribeModel": _fields("ModelName"),
    "DeleteModel": _fields("ModelName"),
    "ListModels": _fields(_LIST),
    "CreateEndpointConfig": _fields(
        "EndpointConfigName MetricsConfig.EnableEnhancedMetrics "
        f"MetricsConfig.MetricPublishFrequencyInSeconds {_of_variants(_VARIANT)}",
        "Tags KmsKeyId ExecutionRoleArn VpcConfig EnableNetworkIsolation "
        f"MetricsConfig.EnableDetailedObservability {_of_variants(_KEPT_OF_A_VARIANT)}",
    ),
    "DescribeEndpointConfig": _fields("EndpointConfigName"),
    "DeleteEndpointConfig": _fields("EndpointConfigName"),
    "ListEndpointConfigs": _fields(_LIST),
    "CreateEndpoint": _fields("EndpointName EndpointConfigName", "DeploymentConfig Tags"),
    "DescribeEndpoint": _fields("EndpointName"),
    "UpdateEndpoint": _fields(
        "EndpointName EndpointConfigName RetainAllVariantProperties "
        "ExcludeRetainedVariantProperties",
        "DeploymentConfig RetainDeploymentConfig",
    ),
    "UpdateEndpointWeightsAndCapacities": _fields(
        "EndpointName DesiredWeightsAndCapacities.VariantName "
        "DesiredWeightsAndCapacities.DesiredWeight "
        "DesiredWeightsAndCapacities.DesiredInstanceCount"
    ),
    "DeleteEndpoint": _fields("EndpointName"),
    "ListEndpoints": _fields(f"{_LIST} LastModifiedTimeBefore LastModifiedTimeAfter StatusEquals"),
    "CreateTrainingJob": _fields(_TRAINING, _KEPT_OF_TRAINING),
    "DescribeTrainingJob": _fields("TrainingJobName"),
    "ListTrainingJobs": _fields(
        f"{_LIST} LastModifiedTimeBefore LastModifiedTimeAfter StatusEquals"
    ),
    "StopTrainingJob": _fields("TrainingJobName"),
    "AddTags": _fields("ResourceArn Tags"),
    "ListTags": _fields("ResourceArn NextToken MaxResults"),
    "DeleteTags": _fields("ResourceArn TagKeys"),
}

# The same of the runtime.
RUNTIME: Mapping[str, Mapping[str, Level]] = {
    "InvokeEndpoint": _fields(f"{_INVOKE} TargetModel"),
    "InvokeEndpointWithResponseStream": _fields(_INVOKE),
}

# Operations that moto 5.2.5 implements; to others it answers 500, which boto3 tries again.
MOTO = frozenset(
    """
    AssociateTrialComponent CreateAutoMLJobV2 CreateCluster CreateCompilationJob
    CreateDataQualityJobDefinition CreateDomain CreateExperiment CreateFeatureGroup
    CreateHyperParameterTuningJob CreateModelBiasJobDefinition CreateModelCard
    CreateModelExplainabilityJobDefinition CreateModelPackage CreateModelPackageGroup
    CreateModelQualityJobDefinition CreateNotebookInstance CreateNotebookInstanceLifecycleConfig
    CreatePipeline CreateProcessingJob CreateTransformJob CreateTrial
    CreateTrialComponent DeleteCluster DeleteCompilationJob DeleteDataQualityJobDefinition
    DeleteDomain DeleteExperiment DeleteHyperParameterTuningJob DeleteModelBiasJobDefinition
    DeleteModelCard DeleteModelExplainabilityJobDefinition DeleteModelQualityJobDefinition
    DeleteNotebookInstance DeleteNotebookInstanceLifecycleConfig DeletePipeline DeleteTrial
    DeleteTrialComponent DescribeAutoMLJobV2 DescribeCluster DescribeClusterNode
    DescribeCompilationJob DescribeDataQualityJobDefinition DescribeDomain DescribeExperiment
    DescribeFeatureGroup DescribeHyperParameterTuningJob DescribeModelBiasJobDefinition
    DescribeModelCard DescribeModelExplainabilityJobDefinition DescribeModelPackage
    DescribeModelPackageGroup DescribeModelQualityJobDefinition DescribeNotebookInstance
    DescribeNotebookInstanceLifecycleConfig DescribePipeline
    DescribePipelineDefinitionForExecution DescribePipelineExecution DescribeProcessingJob
    DescribeTransformJob DescribeTrial DescribeTrialComponent
    DisassociateTrialComponent ListAutoMLJobs ListClusterNodes ListClusters ListCompilationJobs
    ListDataQualityJobDefinitions ListDomains ListExperiments ListHyperParameterTuningJobs
    ListModelBiasJobDefinitions ListModelCardVersions ListModelCards
    ListModelExplainabilityJobDefinitions ListModelPackageGroups ListModelPackages
    ListModelQualityJobDefinitions ListNotebookInstances ListPipelineExecutions
    ListPipelineParametersForExecution ListPipelines ListProcessingJobs
    ListTransformJobs ListTrialComponents ListTrials Search StartNotebookInstance
    StartPipelineExecution StopAutoMLJob StopNotebookInstance StopProcessingJob UpdateModelCard
    UpdateModelPackage UpdatePipeline UpdateTrialComponent
    """.split()  # noqa: SIM905  # names read better without quotes
)


def runtime() -> dict[str, dict[str, Level]]:
    """All operations of the runtime, and their fields; of one that is refused, none."""
    found: dict[str, dict[str, Level]] = {}
    for operation in service(SAGEMAKER_RUNTIME).operation_names:
        taken = RUNTIME.get(operation, {})
        shape = operation_model(SAGEMAKER_RUNTIME, operation).input_shape
        found[operation] = dict(_levels(taken, shape, "")) if taken and shape else {}
    return found


def level(operation: str) -> Level:
    """Who answers an operation."""
    if operation in OURS:
        return Level.REAL
    return Level.MOTO if operation in MOTO else Level.REFUSED


def operations() -> dict[str, Level]:
    """All operations of SageMaker."""
    return {name: level(name) for name in service().operation_names}


def fields(operation: str) -> dict[str, Level]:
    """All fields of an operation of ours, as deep as they differ."""
    shape = operation_model(SAGEMAKER, operation).input_shape
    return dict(_levels(OURS[operation], shape, "")) if shape is not None else {}


def _levels(
    taken: Mapping[str, Level], shape: StructureShape, prefix: str
) -> list[tuple[str, Level]]:
    found = []
    for name, member in shape.members.items():
        path = prefix + name
        below = member.member if isinstance(member, ListShape) else member
        if path in taken:
            found.append((path, taken[path]))
        elif _reaches_into(taken, path) and isinstance(below, StructureShape):
            found += _levels(taken, below, f"{path}.")
        else:
            found.append((path, Level.REFUSED))
    return found


def _reaches_into(taken: Mapping[str, Level], path: str) -> bool:
    return any(other.startswith(f"{path}.") for other in taken)


def refused_field(operation: str, request: Mapping[str, Any]) -> str | None:
    """The first field of a request that is not taken, if there is one."""
    return _refused(OURS[operation], request, "")


def _refused(taken: Mapping[str, Level], value: Mapping[str, Any], prefix: str) -> str | None:
    for name, one in value.items():
        path = prefix + name
        if path in taken or one in ([], {}):  # who gives nothing asks for nothing
            continue
        if not _reaches_into(taken, path):
            return path
        for element in one if isinstance(one, list) else [one]:
            if found := _refused(taken, element, f"{path}."):
                return found
    return None
