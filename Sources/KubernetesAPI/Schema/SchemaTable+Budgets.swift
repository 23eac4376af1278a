extension SchemaTable {
    /// What limits and plans pods: CronJobs, disruption budgets, priorities, quotas and ranges.
    static let budgets = """
        @io.k8s.api.batch.v1
        CronJob
          spec! CronJobSpec
          status CronJobStatus
        CronJobSpec
          schedule! string
          timeZone string
          startingDeadlineSeconds int64
          concurrencyPolicy string default="Allow" enum=Allow|Forbid|Replace
          suspend bool default=false
          jobTemplate! JobTemplateSpec
          successfulJobsHistoryLimit int32 default=3
          failedJobsHistoryLimit int32 default=1
        JobTemplateSpec
          metadata ObjectMeta
          spec JobSpec
        CronJobStatus
          active []ObjectReference
          lastScheduleTime time
          lastSuccessfulTime time
        @io.k8s.api.policy.v1
        PodDisruptionBudget
          spec PodDisruptionBudgetSpec
          status PodDisruptionBudgetStatus
        PodDisruptionBudgetSpec
          minAvailable intstr
          selector LabelSelector
          maxUnavailable intstr
          unhealthyPodEvictionPolicy string enum=AlwaysAllow|IfHealthyBudget
        PodDisruptionBudgetStatus
          observedGeneration int64
          disruptedPods map(time)
          disruptionsAllowed int32
          currentHealthy int32
          desiredHealthy int32
          expectedPods int32
          conditions []Condition merge=type
        @io.k8s.api.scheduling.v1
        PriorityClass
          value! int32
          globalDefault bool
          description string
          preemptionPolicy string default="PreemptLowerPriority" enum=Never|PreemptLowerPriority
        @io.k8s.api.core.v1
        ResourceQuota
          spec ResourceQuotaSpec
          status ResourceQuotaStatus
        ResourceQuotaSpec
          hard map(quantity)
          scopes []string
          scopeSelector ScopeSelector
        ScopeSelector
          matchExpressions []ScopedResourceSelectorRequirement
        ScopedResourceSelectorRequirement
          scopeName! string enum=BestEffort|CrossNamespacePodAffinity|NotBestEffort|NotTerminating|PriorityClass|Terminating
          operator! string enum=DoesNotExist|Exists|In|NotIn
          values []string
        ResourceQuotaStatus
          hard map(quantity)
          used map(quantity)
        LimitRange
          spec LimitRangeSpec
        LimitRangeSpec
          limits! []LimitRangeItem
        LimitRangeItem
          type! string
          max map(quantity)
          min map(quantity)
          default map(quantity)
          defaultRequest map(quantity)
          maxLimitRequestRatio map(quantity)
        """
}
