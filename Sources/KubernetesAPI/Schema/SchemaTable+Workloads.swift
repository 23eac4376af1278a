extension SchemaTable {
    /// What runs pods besides Deployments, and what scales them: `apps`, `batch`, `autoscaling`.
    static let workloads = """
        @io.k8s.api.apps.v1
        StatefulSet
          spec! StatefulSetSpec
          status StatefulSetStatus
        StatefulSetSpec
          replicas int32 default=1
          selector! LabelSelector
          template! PodTemplateSpec
          volumeClaimTemplates []PersistentVolumeClaimTemplateEntry
          serviceName string
          podManagementPolicy string default="OrderedReady" enum=OrderedReady|Parallel
          updateStrategy StatefulSetUpdateStrategy default={}
          revisionHistoryLimit int32 default=10
          minReadySeconds int32
          persistentVolumeClaimRetentionPolicy StatefulSetPersistentVolumeClaimRetentionPolicy default={}
          ordinals StatefulSetOrdinals
        StatefulSetUpdateStrategy
          type string default="RollingUpdate" enum=OnDelete|RollingUpdate
          rollingUpdate RollingUpdateStatefulSetStrategy
        RollingUpdateStatefulSetStrategy
          partition int32 default=0
          maxUnavailable intstr
        StatefulSetPersistentVolumeClaimRetentionPolicy
          whenDeleted string default="Retain" enum=Delete|Retain
          whenScaled string default="Retain" enum=Delete|Retain
        StatefulSetOrdinals
          start int32
        StatefulSetStatus
          observedGeneration int64
          replicas int32
          readyReplicas int32
          currentReplicas int32
          updatedReplicas int32
          currentRevision string
          updateRevision string
          collisionCount int32
          conditions []Condition merge=type
          availableReplicas int32
        DaemonSet
          spec! DaemonSetSpec
          status DaemonSetStatus
        DaemonSetSpec
          selector! LabelSelector
          template! PodTemplateSpec
          updateStrategy DaemonSetUpdateStrategy default={}
          minReadySeconds int32
          revisionHistoryLimit int32 default=10
        DaemonSetUpdateStrategy
          type string default="RollingUpdate" enum=OnDelete|RollingUpdate
          rollingUpdate RollingUpdateDaemonSet
        RollingUpdateDaemonSet
          maxUnavailable intstr default=1
          maxSurge intstr default=0
        DaemonSetStatus
          currentNumberScheduled int32
          numberMisscheduled int32
          desiredNumberScheduled int32
          numberReady int32
          observedGeneration int64
          updatedNumberScheduled int32
          numberAvailable int32
          numberUnavailable int32
          collisionCount int32
          conditions []Condition merge=type
        ControllerRevision
          data any
          revision! int64
        @io.k8s.api.batch.v1
        Job
          spec! JobSpec
          status JobStatus
        JobSpec
          parallelism int32
          completions int32
          activeDeadlineSeconds int64
          podFailurePolicy any
          successPolicy any
          backoffLimit int32 default=6
          backoffLimitPerIndex int32
          maxFailedIndexes int32
          selector LabelSelector
          manualSelector bool default=false
          template! PodTemplateSpec
          ttlSecondsAfterFinished int32
          completionMode string default="NonIndexed" enum=Indexed|NonIndexed
          suspend bool default=false
          podReplacementPolicy string default="TerminatingOrFailed" enum=Failed|TerminatingOrFailed
          managedBy string
        JobStatus
          conditions []Condition merge=type
          startTime time
          completionTime time
          active int32
          succeeded int32
          failed int32
          terminating int32
          completedIndexes string
          failedIndexes string
          uncountedTerminatedPods UncountedTerminatedPods
          ready int32
        UncountedTerminatedPods
          succeeded []string
          failed []string
        @io.k8s.api.autoscaling.v1
        HorizontalPodAutoscalerV1
          spec HorizontalPodAutoscalerSpecV1
          status HorizontalPodAutoscalerStatusV1
        HorizontalPodAutoscalerSpecV1
          scaleTargetRef! CrossVersionObjectReference
          minReplicas int32
          maxReplicas! int32
          targetCPUUtilizationPercentage int32
        HorizontalPodAutoscalerStatusV1
          observedGeneration int64
          lastScaleTime time
          currentReplicas! int32
          desiredReplicas! int32
          currentCPUUtilizationPercentage int32
        @io.k8s.api.autoscaling.v2
        HorizontalPodAutoscaler
          spec! HorizontalPodAutoscalerSpec
          status HorizontalPodAutoscalerStatus
        HorizontalPodAutoscalerSpec
          scaleTargetRef! CrossVersionObjectReference
          minReplicas int32 default=1
          maxReplicas! int32
          metrics []MetricSpec
          behavior HorizontalPodAutoscalerBehavior
        CrossVersionObjectReference
          kind! string
          name! string
          apiVersion string
        MetricSpec
          type! string enum=ContainerResource|External|Object|Pods|Resource
          object ObjectMetricSource
          pods PodsMetricSource
          resource ResourceMetricSource
          containerResource ContainerResourceMetricSource
          external any
        ObjectMetricSource
          describedObject! CrossVersionObjectReference
          target! MetricTarget
          metric! MetricIdentifier
        PodsMetricSource
          metric! MetricIdentifier
          target! MetricTarget
        ResourceMetricSource
          name! string
          target! MetricTarget
        ContainerResourceMetricSource
          name! string
          target! MetricTarget
          container! string
        MetricIdentifier
          name! string
          selector LabelSelector
        MetricTarget
          type! string enum=AverageValue|Utilization|Value
          value quantity
          averageValue quantity
          averageUtilization int32
        HorizontalPodAutoscalerBehavior
          scaleUp HPAScalingRules
          scaleDown HPAScalingRules
        HPAScalingRules
          stabilizationWindowSeconds int32
          selectPolicy string default="Max" enum=Disabled|Max|Min
          policies []HPAScalingPolicy
          tolerance quantity
        HPAScalingPolicy
          type! string enum=Percent|Pods
          value! int32
          periodSeconds! int32
        HorizontalPodAutoscalerStatus
          observedGeneration int64
          lastScaleTime time
          currentReplicas int32
          desiredReplicas int32
          currentMetrics any
          conditions []Condition merge=type
        @io.k8s.metrics.pkg.apis.metrics.v1beta1
        NodeMetrics
          timestamp! time
          window! string
          usage! map(quantity)
        PodMetrics
          timestamp! time
          window! string
          containers! []ContainerMetrics merge=name
        ContainerMetrics
          name! string
          usage! map(quantity)
        """
}
