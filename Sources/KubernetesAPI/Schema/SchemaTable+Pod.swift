extension SchemaTable {
    /// Pods: everything Kubernetes knows, whether or not our agent acts on it, so that objects stay portable.
    static let pod = """
        @io.k8s.api.core.v1
        Pod
          spec! PodSpec
          status PodStatus
        ReplicationController
          spec! ReplicationControllerSpec
          status ReplicationControllerStatus
        ReplicationControllerSpec
          replicas int32 default=1
          minReadySeconds int32
          selector map(string)
          template PodTemplateSpec
        ReplicationControllerStatus
          replicas int32
          fullyLabeledReplicas int32
          readyReplicas int32
          availableReplicas int32
          observedGeneration int64
          conditions []Condition merge=type
        PodTemplateSpec
          metadata ObjectMeta
          spec PodSpec
        PodSpec
          volumes []Volume merge=name retain
          initContainers []Container merge=name
          containers! []Container merge=name
          ephemeralContainers []EphemeralContainer merge=name
          restartPolicy string default="Always" enum=Always|OnFailure|Never
          terminationGracePeriodSeconds int64 default=30
          activeDeadlineSeconds int64
          dnsPolicy string default="ClusterFirst" enum=ClusterFirst|ClusterFirstWithHostNet|Default|None
          nodeSelector map(string)
          serviceAccountName string
          serviceAccount string
          automountServiceAccountToken bool
          nodeName string
          hostNetwork bool
          hostPID bool
          hostIPC bool
          shareProcessNamespace bool
          securityContext PodSecurityContext default={}
          imagePullSecrets []LocalObjectReference merge=name
          hostname string
          subdomain string
          affinity Affinity
          schedulerName string default="default-scheduler"
          tolerations []Toleration
          hostAliases []HostAlias merge=ip
          priorityClassName string
          priority int32
          dnsConfig PodDNSConfig
          readinessGates []PodReadinessGate
          runtimeClassName string
          enableServiceLinks bool
          preemptionPolicy string enum=Never|PreemptLowerPriority
          overhead map(quantity)
          topologySpreadConstraints []TopologySpreadConstraint merge=topologyKey
          setHostnameAsFQDN bool
          os PodOS
          hostUsers bool
          schedulingGates []LocalObjectReference merge=name
          resourceClaims any
          resources ResourceRequirements
          hostnameOverride string
        PodOS
          name! string
        Affinity
          nodeAffinity any
          podAffinity any
          podAntiAffinity any
        Toleration
          key string
          operator string enum=Equal|Exists
          value string
          effect string
          tolerationSeconds int64
        HostAlias
          ip! string
          hostnames []string
        PodDNSConfig
          nameservers []string
          searches []string
          options []PodDNSConfigOption
        PodDNSConfigOption
          name string
          value string
        PodReadinessGate
          conditionType! string
        TopologySpreadConstraint
          maxSkew! int32
          topologyKey! string
          whenUnsatisfiable! string enum=DoNotSchedule|ScheduleAnyway
          labelSelector LabelSelector
          minDomains int32
          nodeAffinityPolicy string
          nodeTaintsPolicy string
          matchLabelKeys []string
        PodSecurityContext
          seLinuxOptions any
          windowsOptions any
          runAsUser int64
          runAsGroup int64
          runAsNonRoot bool
          supplementalGroups []int64
          supplementalGroupsPolicy string
          fsGroup int64
          sysctls []Sysctl
          fsGroupChangePolicy string
          seccompProfile SeccompProfile
          appArmorProfile SeccompProfile
          seLinuxChangePolicy string
        Sysctl
          name! string
          value! string
        SeccompProfile
          type! string enum=RuntimeDefault|Unconfined|Localhost
          localhostProfile string
        PodStatus
          observedGeneration int64
          phase string
          conditions []Condition merge=type
          message string
          reason string
          nominatedNodeName string
          hostIP string
          hostIPs []PodIP merge=ip
          podIP string
          podIPs []PodIP merge=ip
          startTime time
          initContainerStatuses []ContainerStatus
          containerStatuses []ContainerStatus
          ephemeralContainerStatuses []ContainerStatus
          qosClass string
          resize string
          resourceClaimStatuses any
        PodIP
          ip! string
        ContainerStatus
          name! string
          state ContainerState
          lastState ContainerState
          ready bool
          restartCount int32
          image string
          imageID string
          containerID string
          started bool
          allocatedResources map(quantity)
          resources ResourceRequirements
          volumeMounts any
          user any
          allocatedResourcesStatus any
          stopSignal string
        ContainerState
          waiting ContainerStateWaiting
          running ContainerStateRunning
          terminated ContainerStateTerminated
        ContainerStateWaiting
          reason string
          message string
        ContainerStateRunning
          startedAt time
        ContainerStateTerminated
          exitCode int32
          signal int32
          reason string
          message string
          startedAt time
          finishedAt time
          containerID string
        """

    /// Containers and their probes.
    static let container = """
        @io.k8s.api.core.v1
        Container
          name! string
          image string
          command []string
          args []string
          workingDir string
          ports []ContainerPort merge=containerPort
          envFrom []EnvFromSource
          env []EnvVar merge=name
          resources ResourceRequirements default={}
          resizePolicy any
          restartPolicy string
          restartPolicyRules any
          volumeMounts []VolumeMount merge=mountPath
          volumeDevices []VolumeDevice merge=devicePath
          livenessProbe Probe
          readinessProbe Probe
          startupProbe Probe
          lifecycle Lifecycle
          terminationMessagePath string default="/dev/termination-log"
          terminationMessagePolicy string default="File" enum=FallbackToLogsOnError|File
          imagePullPolicy string enum=Always|IfNotPresent|Never
          securityContext SecurityContext
          stdin bool
          stdinOnce bool
          tty bool
          targetContainerName string
        ContainerPort
          name string
          hostPort int32
          containerPort! int32
          protocol string default="TCP" enum=SCTP|TCP|UDP
          hostIP string
        EnvFromSource
          prefix string
          configMapRef OptionalReference
          secretRef OptionalReference
        OptionalReference
          name string
          optional bool
        EnvVar
          name! string
          value string
          valueFrom EnvVarSource
        EnvVarSource
          fieldRef ObjectFieldSelector
          resourceFieldRef ResourceFieldSelector
          configMapKeyRef KeySelector
          secretKeyRef KeySelector
          fileKeyRef any
        ObjectFieldSelector
          apiVersion string default="v1"
          fieldPath! string
        ResourceFieldSelector
          containerName string
          resource! string
          divisor quantity
        KeySelector
          name string
          key! string
          optional bool
        ResourceRequirements
          limits map(quantity)
          requests map(quantity)
          claims any
        VolumeMount
          name! string
          readOnly bool
          recursiveReadOnly string
          mountPath! string
          subPath string
          mountPropagation string
          subPathExpr string
        VolumeDevice
          name! string
          devicePath! string
        Probe
          exec ExecAction
          httpGet HTTPGetAction
          tcpSocket TCPSocketAction
          grpc GRPCAction
          initialDelaySeconds int32
          timeoutSeconds int32 default=1
          periodSeconds int32 default=10
          successThreshold int32 default=1
          failureThreshold int32 default=3
          terminationGracePeriodSeconds int64
        ExecAction
          command []string
        HTTPGetAction
          path string default="/"
          port! intstr
          host string
          scheme string default="HTTP" enum=HTTP|HTTPS
          httpHeaders []HTTPHeader
        HTTPHeader
          name! string
          value! string
        TCPSocketAction
          port! intstr
          host string
        GRPCAction
          port! int32
          service string default=""
        Lifecycle
          postStart LifecycleHandler
          preStop LifecycleHandler
          stopSignal string
        LifecycleHandler
          exec ExecAction
          httpGet HTTPGetAction
          tcpSocket TCPSocketAction
          sleep SleepAction
        SleepAction
          seconds! int64
        SecurityContext
          capabilities Capabilities
          privileged bool
          seLinuxOptions any
          windowsOptions any
          runAsUser int64
          runAsGroup int64
          runAsNonRoot bool
          readOnlyRootFilesystem bool
          allowPrivilegeEscalation bool
          procMount string
          seccompProfile SeccompProfile
          appArmorProfile SeccompProfile
        Capabilities
          add []string
          drop []string
        """

    /// Volumes; the sources that no node agent of ours can mount are accepted as they are.
    static let volume = """
        @io.k8s.api.core.v1
        Volume
          name! string
          hostPath HostPathVolumeSource
          emptyDir EmptyDirVolumeSource
          secret SecretVolumeSource
          configMap ConfigMapVolumeSource
          downwardAPI DownwardAPIVolumeSource
          projected ProjectedVolumeSource
          persistentVolumeClaim PersistentVolumeClaimVolumeSource
          nfs any
          csi any
          ephemeral any
          image any
          gcePersistentDisk any
          awsElasticBlockStore any
          gitRepo any
          iscsi any
          glusterfs any
          rbd any
          flexVolume any
          cinder any
          cephfs any
          flocker any
          fc any
          azureFile any
          vsphereVolume any
          quobyte any
          azureDisk any
          photonPersistentDisk any
          portworxVolume any
          scaleIO any
          storageos any
        PersistentVolumeClaimVolumeSource
          claimName! string
          readOnly bool
        HostPathVolumeSource
          path! string
          type string default=""
        EmptyDirVolumeSource
          medium string
          sizeLimit quantity
        SecretVolumeSource
          secretName string
          items []KeyToPath
          defaultMode int32 default=420
          optional bool
        ConfigMapVolumeSource
          name string
          items []KeyToPath
          defaultMode int32 default=420
          optional bool
        KeyToPath
          key! string
          path! string
          mode int32
        DownwardAPIVolumeSource
          items []DownwardAPIVolumeFile
          defaultMode int32 default=420
        DownwardAPIVolumeFile
          path! string
          fieldRef ObjectFieldSelector
          resourceFieldRef ResourceFieldSelector
          mode int32
        ProjectedVolumeSource
          sources []VolumeProjection
          defaultMode int32 default=420
        VolumeProjection
          secret KeyedProjection
          configMap KeyedProjection
          downwardAPI DownwardAPIProjection
          serviceAccountToken ServiceAccountTokenProjection
          clusterTrustBundle any
          podCertificate any
        KeyedProjection
          name string
          items []KeyToPath
          optional bool
        DownwardAPIProjection
          items []DownwardAPIVolumeFile
        ServiceAccountTokenProjection
          audience string
          expirationSeconds int64 default=3600
          path! string
        """
}
