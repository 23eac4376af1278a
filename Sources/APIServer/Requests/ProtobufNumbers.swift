import KubernetesAPI

/// The protobuf field numbers of the types that clients create in protobuf; a line is a type and its fields.
///
/// A field is `name=number[?][:type]`: `?` says that a zero is written by the client and means something (Go has a pointer there);
/// the type is there where the schema table has none (it does not look into all that it keeps). Numbers are those of
/// Kubernetes' `generated.proto` files. A field named `*` is a message whose fields belong to the outer object.
enum ProtobufNumbers {
    struct Field: Sendable {
        var name: String
        var hasMeaningfulZero: Bool
        /// What the schema table does not say.
        var type: FieldType?
    }

    static let byType: [String: [Int: Field]] = {
        var result: [String: [Int: Field]] = [:]
        for line in table.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard let type = words.first else { continue }
            for word in words.dropFirst() {
                let halves = word.split(separator: ":", maxSplits: 1)
                let pair = (halves.first ?? "").split(separator: "=")
                let isPointer = word.contains("?")
                guard pair.count == 2, let number = Int(isPointer ? pair[1].dropLast() : pair[1]) else {
                    preconditionFailure("protobuf table: \(line)")
                }
                result[String(type), default: [:]][number] = Field(
                    name: String(pair[0]), hasMeaningfulZero: isPointer,
                    type: halves.count > 1 ? SchemaTable.fieldType(halves[1]) : nil)
            }
        }
        return result
    }()

    private static let table = """
        ObjectMeta name=1 generateName=2 namespace=3 selfLink=4 uid=5 resourceVersion=6 generation=7 creationTimestamp=8 deletionTimestamp=9 deletionGracePeriodSeconds=10? labels=11 annotations=12 ownerReferences=13 finalizers=14 managedFields=17
        OwnerReference kind=1 name=3 uid=4 apiVersion=5 controller=6? blockOwnerDeletion=7?
        LabelSelector matchLabels=1 matchExpressions=2
        LabelSelectorRequirement key=1 operator=2 values=3
        Namespace metadata=1 spec=2 status=3
        NamespaceSpec finalizers=1
        Pod metadata=1 spec=2 status=3
        PodSpec volumes=1 initContainers=20 containers=2 restartPolicy=3 terminationGracePeriodSeconds=4? activeDeadlineSeconds=5? dnsPolicy=6 nodeSelector=7 serviceAccountName=8 serviceAccount=9 automountServiceAccountToken=21? nodeName=10 hostNetwork=11 hostPID=12 hostIPC=13 shareProcessNamespace=27? securityContext=14 imagePullSecrets=15 hostname=16 subdomain=17 affinity=18 schedulerName=19 tolerations=22 hostAliases=23 priorityClassName=24 priority=25? dnsConfig=26 readinessGates=28 runtimeClassName=29? enableServiceLinks=30? preemptionPolicy=31? overhead=32 topologySpreadConstraints=33 setHostnameAsFQDN=35? os=36 hostUsers=37? schedulingGates=38 resourceClaims=39:[]PodResourceClaim resources=40 hostnameOverride=41? schedulingGroup=43:PodSchedulingGroup evictionResponders=44:[]EvictionResponder
        Volume name=1 *=2
        Volume* hostPath=1 emptyDir=2 gcePersistentDisk=3:GCEPersistentDiskVolumeSource awsElasticBlockStore=4:AWSElasticBlockStoreVolumeSource gitRepo=5:GitRepoVolumeSource secret=6 nfs=7:NFSVolumeSource iscsi=8:ISCSIVolumeSource glusterfs=9:GlusterfsVolumeSource persistentVolumeClaim=10 rbd=11:RBDVolumeSource flexVolume=12:FlexVolumeSource cinder=13:CinderVolumeSource cephfs=14:CephFSVolumeSource flocker=15:FlockerVolumeSource downwardAPI=16 fc=17:FCVolumeSource azureFile=18:AzureFileVolumeSource configMap=19 vsphereVolume=20:VsphereVirtualDiskVolumeSource quobyte=21:QuobyteVolumeSource azureDisk=22:AzureDiskVolumeSource photonPersistentDisk=23:PhotonPersistentDiskVolumeSource projected=26 portworxVolume=24:PortworxVolumeSource scaleIO=25:ScaleIOVolumeSource storageos=27:StorageOSVolumeSource csi=28:CSIVolumeSource ephemeral=29:EphemeralVolumeSource image=30:ImageVolumeSource
        HostPathVolumeSource path=1 type=2?
        EmptyDirVolumeSource medium=1 sizeLimit=2 mode=3?:int32
        GCEPersistentDiskVolumeSource pdName=1:string fsType=2:string partition=3:int32 readOnly=4:bool
        AWSElasticBlockStoreVolumeSource volumeID=1:string fsType=2:string partition=3:int32 readOnly=4:bool
        GitRepoVolumeSource repository=1:string revision=2:string directory=3:string
        SecretVolumeSource secretName=1 items=2 defaultMode=3? optional=4? defaultUser=5?:int64
        KeyToPath key=1 path=2 mode=3? user=4?:int64
        NFSVolumeSource server=1:string path=2:string readOnly=3:bool
        ISCSIVolumeSource targetPortal=1:string iqn=2:string lun=3:int32 iscsiInterface=4:string fsType=5:string readOnly=6:bool portals=7:[]string chapAuthDiscovery=8:bool chapAuthSession=11:bool secretRef=10:LocalObjectReference initiatorName=12?:string
        LocalObjectReference name=1
        GlusterfsVolumeSource endpoints=1:string path=2:string readOnly=3:bool
        PersistentVolumeClaimVolumeSource claimName=1 readOnly=2
        RBDVolumeSource monitors=1:[]string image=2:string fsType=3:string pool=4:string user=5:string keyring=6:string secretRef=7:LocalObjectReference readOnly=8:bool
        FlexVolumeSource driver=1:string fsType=2:string secretRef=3:LocalObjectReference readOnly=4:bool options=5:map(string)
        CinderVolumeSource volumeID=1:string fsType=2:string readOnly=3:bool secretRef=4:LocalObjectReference
        CephFSVolumeSource monitors=1:[]string path=2:string user=3:string secretFile=4:string secretRef=5:LocalObjectReference readOnly=6:bool
        FlockerVolumeSource datasetName=1:string datasetUUID=2:string
        DownwardAPIVolumeSource items=1 defaultMode=2? defaultUser=3?:int64
        DownwardAPIVolumeFile path=1 fieldRef=2 resourceFieldRef=3 mode=4? user=5?:int64
        ObjectFieldSelector apiVersion=1 fieldPath=2
        ResourceFieldSelector containerName=1 resource=2 divisor=3
        FCVolumeSource targetWWNs=1:[]string lun=2?:int32 fsType=3:string readOnly=4:bool wwids=5:[]string
        AzureFileVolumeSource secretName=1:string shareName=2:string readOnly=3:bool
        ConfigMapVolumeSource *=1 items=2 defaultMode=3? optional=4? defaultUser=5?:int64
        ConfigMapVolumeSource* name=1
        VsphereVirtualDiskVolumeSource volumePath=1:string fsType=2:string storagePolicyName=3:string storagePolicyID=4:string
        QuobyteVolumeSource registry=1:string volume=2:string readOnly=3:bool user=4:string group=5:string tenant=6:string
        AzureDiskVolumeSource diskName=1:string diskURI=2:string cachingMode=3?:string fsType=4?:string readOnly=5?:bool kind=6?:string
        PhotonPersistentDiskVolumeSource pdID=1:string fsType=2:string
        ProjectedVolumeSource sources=1 defaultMode=2? defaultUser=3?:int64
        VolumeProjection secret=1 downwardAPI=2 configMap=3 serviceAccountToken=4 clusterTrustBundle=5:ClusterTrustBundleProjection podCertificate=6:PodCertificateProjection
        KeyedProjection *=1 items=2 optional=4?
        KeyedProjection* name=1
        DownwardAPIProjection items=1
        ServiceAccountTokenProjection audience=1 expirationSeconds=2? path=3 user=4?:int64
        ClusterTrustBundleProjection name=1?:string signerName=2?:string labelSelector=3:LabelSelector optional=5?:bool path=4:string user=6?:int64
        PodCertificateProjection signerName=1:string keyType=2:string maxExpirationSeconds=3?:int32 credentialBundlePath=4:string keyPath=5:string certificateChainPath=6:string userAnnotations=7:map(string) user=8?:int64
        PortworxVolumeSource volumeID=1:string fsType=2:string readOnly=3:bool
        ScaleIOVolumeSource gateway=1:string system=2:string secretRef=3:LocalObjectReference sslEnabled=4:bool protectionDomain=5:string storagePool=6:string storageMode=7:string volumeName=8:string fsType=9:string readOnly=10:bool
        StorageOSVolumeSource volumeName=1:string volumeNamespace=2:string fsType=3:string readOnly=4:bool secretRef=5:LocalObjectReference
        CSIVolumeSource driver=1:string readOnly=2?:bool fsType=3?:string volumeAttributes=4:map(string) nodePublishSecretRef=5:LocalObjectReference
        EphemeralVolumeSource volumeClaimTemplate=1:PersistentVolumeClaimTemplate
        PersistentVolumeClaimTemplate metadata=1 spec=2:PersistentVolumeClaimSpec
        PersistentVolumeClaimSpec accessModes=1 selector=4 resources=2 volumeName=3 storageClassName=5? volumeMode=6? dataSource=7 dataSourceRef=8:TypedObjectReference volumeAttributesClassName=9?
        VolumeResourceRequirements limits=1 requests=2
        TypedLocalObjectReference apiGroup=1? kind=2 name=3
        TypedObjectReference apiGroup=1?:string kind=2:string name=3:string namespace=4?:string
        ImageVolumeSource reference=1:string pullPolicy=2:string
        Container name=1 image=2 command=3 args=4 workingDir=5 ports=6 envFrom=19 env=7 resources=8 resizePolicy=23:[]ContainerResizePolicy restartPolicy=24? restartPolicyRules=25:[]ContainerRestartRule volumeMounts=9 volumeDevices=21 livenessProbe=10 readinessProbe=11 startupProbe=22 lifecycle=12 terminationMessagePath=13 terminationMessagePolicy=20 imagePullPolicy=14 securityContext=15 stdin=16 stdinOnce=17 tty=18
        ContainerPort name=1 hostPort=2 containerPort=3 protocol=4 hostIP=5
        EnvFromSource prefix=1 configMapRef=2 secretRef=3
        OptionalReference *=1 optional=2?
        OptionalReference* name=1
        EnvVar name=1 value=2 valueFrom=3
        EnvVarSource fieldRef=1 resourceFieldRef=2 configMapKeyRef=3 secretKeyRef=4 fileKeyRef=5:FileKeySelector
        KeySelector *=1 key=2 optional=3?
        KeySelector* name=1
        FileKeySelector volumeName=1:string path=2:string key=3:string optional=4?:bool
        ResourceRequirements limits=1 requests=2 claims=3:[]ResourceClaim
        ResourceClaim name=1:string request=2:string
        ContainerResizePolicy resourceName=1:string restartPolicy=2:string
        ContainerRestartRule action=1:string exitCodes=2:ContainerRestartRuleOnExitCodes
        ContainerRestartRuleOnExitCodes operator=1:string values=2:[]int32
        VolumeMount name=1 readOnly=2 recursiveReadOnly=7? mountPath=3 subPath=4 mountPropagation=5? subPathExpr=6 bindMountOptions=8:[]string
        VolumeDevice name=1 devicePath=2
        Probe *=1 initialDelaySeconds=2 timeoutSeconds=3 periodSeconds=4 successThreshold=5 failureThreshold=6 terminationGracePeriodSeconds=7?
        Probe* exec=1 httpGet=2 tcpSocket=3 grpc=4
        ExecAction command=1
        HTTPGetAction path=1 port=2 host=3 scheme=4 httpHeaders=5 protocol=6?:string
        HTTPHeader name=1 value=2
        TCPSocketAction port=1 host=2
        GRPCAction port=1 service=2? mode=3?:string
        Lifecycle postStart=1 preStop=2 stopSignal=3?
        LifecycleHandler exec=1 httpGet=2 tcpSocket=3 sleep=4
        SleepAction seconds=1
        SecurityContext capabilities=1 privileged=2? seLinuxOptions=3:SELinuxOptions windowsOptions=10:WindowsSecurityContextOptions runAsUser=4? runAsGroup=8? runAsNonRoot=5? readOnlyRootFilesystem=6? allowPrivilegeEscalation=7? procMount=9? seccompProfile=11 appArmorProfile=12
        Capabilities add=1 drop=2
        SELinuxOptions user=1:string role=2:string type=3:string level=4:string
        WindowsSecurityContextOptions gmsaCredentialSpecName=1?:string gmsaCredentialSpec=2?:string runAsUserName=3?:string hostProcess=4?:bool
        SeccompProfile type=1 localhostProfile=2?
        PodSecurityContext seLinuxOptions=1:SELinuxOptions windowsOptions=8:WindowsSecurityContextOptions runAsUser=2? runAsGroup=6? runAsNonRoot=3? supplementalGroups=4 supplementalGroupsPolicy=12? fsGroup=5? sysctls=7 fsGroupChangePolicy=9? seccompProfile=10 appArmorProfile=11 seLinuxChangePolicy=13?
        Sysctl name=1 value=2
        Affinity nodeAffinity=1:NodeAffinity podAffinity=2:PodAffinity podAntiAffinity=3:PodAntiAffinity
        NodeAffinity requiredDuringSchedulingIgnoredDuringExecution=1:NodeSelector preferredDuringSchedulingIgnoredDuringExecution=2:[]PreferredSchedulingTerm
        NodeSelector nodeSelectorTerms=1:[]NodeSelectorTerm
        NodeSelectorTerm matchExpressions=1:[]NodeSelectorRequirement matchFields=2:[]NodeSelectorRequirement
        NodeSelectorRequirement key=1:string operator=2:string values=3:[]string
        PreferredSchedulingTerm weight=1:int32 preference=2:NodeSelectorTerm
        PodAffinity requiredDuringSchedulingIgnoredDuringExecution=1:[]PodAffinityTerm preferredDuringSchedulingIgnoredDuringExecution=2:[]WeightedPodAffinityTerm
        PodAffinityTerm labelSelector=1:LabelSelector namespaces=2:[]string topologyKey=3:string namespaceSelector=4:LabelSelector matchLabelKeys=5:[]string mismatchLabelKeys=6:[]string
        WeightedPodAffinityTerm weight=1:int32 podAffinityTerm=2:PodAffinityTerm
        PodAntiAffinity requiredDuringSchedulingIgnoredDuringExecution=1:[]PodAffinityTerm preferredDuringSchedulingIgnoredDuringExecution=2:[]WeightedPodAffinityTerm
        Toleration key=1 operator=2 value=3 effect=4 tolerationSeconds=5?
        HostAlias ip=1 hostnames=2
        PodDNSConfig nameservers=1 searches=2 options=3
        PodDNSConfigOption name=1 value=2?
        PodReadinessGate conditionType=1
        TopologySpreadConstraint maxSkew=1 topologyKey=2 whenUnsatisfiable=3 labelSelector=4 minDomains=5? nodeAffinityPolicy=6? nodeTaintsPolicy=7? matchLabelKeys=8
        PodOS name=1
        PodResourceClaim name=1:string resourceClaimName=3?:string resourceClaimTemplateName=4?:string
        PodSchedulingGroup podGroupName=1?:string
        EvictionResponder name=1:string priority=2?:int32
        ReplicationController metadata=1 spec=2 status=3
        ReplicationControllerSpec replicas=1? selector=2 template=3 minReadySeconds=4
        Service metadata=1 spec=2 status=3
        ServiceSpec ports=1 selector=2 clusterIP=3 clusterIPs=18 type=4 externalIPs=5 sessionAffinity=7 loadBalancerIP=8 loadBalancerSourceRanges=9 externalName=10 externalTrafficPolicy=11 healthCheckNodePort=12 publishNotReadyAddresses=13 sessionAffinityConfig=14 ipFamilies=19 ipFamilyPolicy=17? allocateLoadBalancerNodePorts=20? loadBalancerClass=21? internalTrafficPolicy=22? trafficDistribution=23?
        ServicePort name=1 protocol=2 appProtocol=6? port=3 targetPort=4 nodePort=5
        SessionAffinityConfig clientIP=1
        ClientIPConfig timeoutSeconds=1?
        Endpoints metadata=1 subsets=2
        EndpointSubset addresses=1 notReadyAddresses=2 ports=3
        EndpointAddress ip=1 hostname=3 nodeName=4? targetRef=2
        ObjectReference kind=1 namespace=2 name=3 uid=4 apiVersion=5 resourceVersion=6 fieldPath=7
        EndpointPort name=1 port=2 protocol=3 appProtocol=4?
        ConfigMap metadata=1 immutable=4? data=2 binaryData=3
        Secret metadata=1 immutable=5? data=2 stringData=4 type=3
        ServiceAccount metadata=1 secrets=2 imagePullSecrets=3 automountServiceAccountToken=4?
        PersistentVolumeClaim metadata=1 spec=2 status=3
        PersistentVolume metadata=1 spec=2 status=3
        PersistentVolumeSpec capacity=1 *=2 accessModes=3 claimRef=4 persistentVolumeReclaimPolicy=5 storageClassName=6 mountOptions=7 volumeMode=8? nodeAffinity=9 volumeAttributesClassName=10?
        PersistentVolumeSpec* gcePersistentDisk=1:GCEPersistentDiskVolumeSource awsElasticBlockStore=2:AWSElasticBlockStoreVolumeSource hostPath=3 glusterfs=4:GlusterfsPersistentVolumeSource nfs=5:NFSVolumeSource rbd=6:RBDPersistentVolumeSource iscsi=7:ISCSIPersistentVolumeSource cinder=8:CinderPersistentVolumeSource cephfs=9:CephFSPersistentVolumeSource fc=10:FCVolumeSource flocker=11:FlockerVolumeSource flexVolume=12:FlexPersistentVolumeSource azureFile=13:AzureFilePersistentVolumeSource vsphereVolume=14:VsphereVirtualDiskVolumeSource quobyte=15:QuobyteVolumeSource azureDisk=16:AzureDiskVolumeSource photonPersistentDisk=17:PhotonPersistentDiskVolumeSource portworxVolume=18:PortworxVolumeSource scaleIO=19:ScaleIOPersistentVolumeSource local=20 storageos=21:StorageOSPersistentVolumeSource csi=22
        GlusterfsPersistentVolumeSource endpoints=1:string path=2:string readOnly=3:bool endpointsNamespace=4?:string
        RBDPersistentVolumeSource monitors=1:[]string image=2:string fsType=3:string pool=4:string user=5:string keyring=6:string secretRef=7:SecretReference readOnly=8:bool
        SecretReference name=1:string namespace=2:string
        ISCSIPersistentVolumeSource targetPortal=1:string iqn=2:string lun=3:int32 iscsiInterface=4:string fsType=5:string readOnly=6:bool portals=7:[]string chapAuthDiscovery=8:bool chapAuthSession=11:bool secretRef=10:SecretReference initiatorName=12?:string
        CinderPersistentVolumeSource volumeID=1:string fsType=2:string readOnly=3:bool secretRef=4:SecretReference
        CephFSPersistentVolumeSource monitors=1:[]string path=2:string user=3:string secretFile=4:string secretRef=5:SecretReference readOnly=6:bool
        FlexPersistentVolumeSource driver=1:string fsType=2:string secretRef=3:SecretReference readOnly=4:bool options=5:map(string)
        AzureFilePersistentVolumeSource secretName=1:string shareName=2:string readOnly=3:bool secretNamespace=4?:string
        ScaleIOPersistentVolumeSource gateway=1:string system=2:string secretRef=3:SecretReference sslEnabled=4:bool protectionDomain=5:string storagePool=6:string storageMode=7:string volumeName=8:string fsType=9:string readOnly=10:bool
        LocalVolumeSource path=1 fsType=2?
        StorageOSPersistentVolumeSource volumeName=1:string volumeNamespace=2:string fsType=3:string readOnly=4:bool secretRef=5:ObjectReference
        CSIPersistentVolumeSource driver=1 volumeHandle=2 readOnly=3 fsType=4 volumeAttributes=5 controllerPublishSecretRef=6:SecretReference nodeStageSecretRef=7:SecretReference nodePublishSecretRef=8:SecretReference controllerExpandSecretRef=9:SecretReference nodeExpandSecretRef=10:SecretReference
        VolumeNodeAffinity required=1:NodeSelector
        Node metadata=1 spec=2 status=3
        NodeSpec podCIDR=1 podCIDRs=7 providerID=3 unschedulable=4 taints=5 configSource=6:NodeConfigSource externalID=2 podPreemptionPolicy=8:NodePodPreemptionPolicy
        Taint key=1 value=2 effect=3 timeAdded=4
        NodeConfigSource configMap=2:ConfigMapNodeConfigSource
        ConfigMapNodeConfigSource namespace=1:string name=2:string uid=3:string resourceVersion=4:string kubeletConfigKey=5:string
        NodePodPreemptionPolicy disableResizePreemption=1:[]string
        Event metadata=1 involvedObject=2 reason=3 message=4 source=5 firstTimestamp=6 lastTimestamp=7 count=8 type=9 eventTime=10 series=11:EventSeries action=12 related=13 reportingComponent=14 reportingInstance=15
        EventSource component=1 host=2
        EventSeries count=1:int32 lastObservedTime=2:time
        Deployment metadata=1 spec=2 status=3
        DeploymentSpec replicas=1? selector=2 template=3 strategy=4 minReadySeconds=5 revisionHistoryLimit=6? paused=7 progressDeadlineSeconds=9?
        PodTemplateSpec metadata=1 spec=2
        DeploymentStrategy type=1 rollingUpdate=2
        RollingUpdateDeployment maxUnavailable=1? maxSurge=2?
        ReplicaSet metadata=1 spec=2 status=3
        ReplicaSetSpec replicas=1? minReadySeconds=4 selector=2 template=3
        StatefulSet metadata=1 spec=2 status=3
        StatefulSetSpec replicas=1? selector=2 template=3 volumeClaimTemplates=4 serviceName=5 podManagementPolicy=6 updateStrategy=7 revisionHistoryLimit=8? minReadySeconds=9 persistentVolumeClaimRetentionPolicy=10 ordinals=11
        PersistentVolumeClaimTemplateEntry metadata=1 spec=2 status=3
        StatefulSetUpdateStrategy type=1 rollingUpdate=2
        RollingUpdateStatefulSetStrategy partition=1? maxUnavailable=2?
        StatefulSetPersistentVolumeClaimRetentionPolicy whenDeleted=1 whenScaled=2
        StatefulSetOrdinals start=1
        DaemonSet metadata=1 spec=2 status=3
        DaemonSetSpec selector=1 template=2 updateStrategy=3 minReadySeconds=4 revisionHistoryLimit=6?
        DaemonSetUpdateStrategy type=1 rollingUpdate=2
        RollingUpdateDaemonSet maxUnavailable=1? maxSurge=2?
        ControllerRevision metadata=1 data=2 revision=3
        Job metadata=1 spec=2 status=3
        JobSpec parallelism=1? completions=2? activeDeadlineSeconds=3? podFailurePolicy=11:PodFailurePolicy successPolicy=16:SuccessPolicy backoffLimit=7? backoffLimitPerIndex=12? maxFailedIndexes=13? selector=4 manualSelector=5? template=6 ttlSecondsAfterFinished=8? completionMode=9? suspend=10? podReplacementPolicy=14? managedBy=15? scheduling=17:JobSchedulingConfiguration
        CronJob metadata=1 spec=2 status=3
        CronJobSpec schedule=1 timeZone=8? startingDeadlineSeconds=2? concurrencyPolicy=3 suspend=4? jobTemplate=5 successfulJobsHistoryLimit=6? failedJobsHistoryLimit=7?
        JobTemplateSpec metadata=1 spec=2
        PodDisruptionBudget metadata=1 spec=2 status=3
        PodDisruptionBudgetSpec minAvailable=1 selector=2 maxUnavailable=3 unhealthyPodEvictionPolicy=4?
        PriorityClass metadata=1 value=2 globalDefault=3 description=4 preemptionPolicy=5?
        ResourceQuota metadata=1 spec=2 status=3
        ResourceQuotaSpec hard=1 scopes=2 scopeSelector=3
        ScopeSelector matchExpressions=1
        ScopedResourceSelectorRequirement scopeName=1 operator=2 values=3
        LimitRange metadata=1 spec=2
        LimitRangeSpec limits=1
        LimitRangeItem type=1 max=2 min=3 default=4 defaultRequest=5 maxLimitRequestRatio=6
        PodFailurePolicy rules=1:[]PodFailurePolicyRule
        PodFailurePolicyRule action=1:string onExitCodes=2:PodFailurePolicyOnExitCodesRequirement onPodConditions=3:[]PodFailurePolicyOnPodConditionsPattern
        PodFailurePolicyOnExitCodesRequirement containerName=1?:string operator=2:string values=3:[]int32
        PodFailurePolicyOnPodConditionsPattern type=1:string status=2
        SuccessPolicy rules=1:[]SuccessPolicyRule
        SuccessPolicyRule succeededIndexes=1?:string succeededCount=2?:int32
        JobSchedulingConfiguration schedulingPolicy=1 schedulingConstraints=2 disruptionMode=3 resourceClaims=4:[]any
        EndpointSlice metadata=1 addressType=4 endpoints=2 ports=3:[]SliceEndpointPort
        Endpoint addresses=1 conditions=2 hostname=3? targetRef=4 deprecatedTopology=5 nodeName=6? zone=7? hints=8:EndpointHints
        EndpointConditions ready=1? serving=2? terminating=3?
        EndpointHints forZones=1:[]ForZone forNodes=2:[]ForNode
        ForZone name=1:string
        ForNode name=1:string
        SliceEndpointPort name=1?:string protocol=2?:string port=3?:int32 appProtocol=4?:string
        Ingress metadata=1 spec=2 status=3
        IngressSpec ingressClassName=4? defaultBackend=1 tls=2 rules=3
        IngressBackend service=4 resource=3
        IngressServiceBackend name=1 port=2
        ServiceBackendPort name=1 number=2
        IngressTLS hosts=1 secretName=2
        IngressRule host=1 *=2
        IngressRule* http=1
        HTTPIngressRuleValue paths=1
        HTTPIngressPath path=1 pathType=3? backend=2
        IngressClass metadata=1 spec=2
        IngressClassSpec controller=1 parameters=2
        IngressClassParameters apiGroup=1? kind=2 name=3 scope=4? namespace=5?
        NetworkPolicy metadata=1 spec=2
        NetworkPolicySpec podSelector=1 ingress=2 egress=3 policyTypes=4
        NetworkPolicyIngressRule ports=1 from=2
        NetworkPolicyPort protocol=1? port=2? endPort=3?
        NetworkPolicyPeer podSelector=1 namespaceSelector=2 ipBlock=3
        IPBlock cidr=1 except=2
        NetworkPolicyEgressRule ports=1 to=2
        Lease metadata=1 spec=2
        LeaseSpec holderIdentity=1? leaseDurationSeconds=2? acquireTime=3 renewTime=4 leaseTransitions=5? strategy=6? preferredHolder=7?
        StorageClass metadata=1 provisioner=2 parameters=3 reclaimPolicy=4? mountOptions=5 allowVolumeExpansion=6? volumeBindingMode=7? allowedTopologies=8:[]TopologySelectorTerm
        TopologySelectorTerm matchLabelExpressions=1:[]TopologySelectorLabelRequirement
        TopologySelectorLabelRequirement key=1:string values=2:[]string
        Role metadata=1 rules=2
        PolicyRule verbs=1 apiGroups=2 resources=3 resourceNames=4 nonResourceURLs=5
        ClusterRole metadata=1 rules=2 aggregationRule=3
        AggregationRule clusterRoleSelectors=1
        RoleBinding metadata=1 subjects=2 roleRef=3
        Subject kind=1 apiGroup=2 name=3 namespace=4
        RoleRef apiGroup=1 kind=2 name=3
        ClusterRoleBinding metadata=1 subjects=2 roleRef=3
        SelfSubjectAccessReview metadata=1 spec=2 status=3
        SelfSubjectAccessReviewSpec resourceAttributes=1 nonResourceAttributes=2
        ResourceAttributes namespace=1 verb=2 group=3 version=4 resource=5 subresource=6 name=7 fieldSelector=8:FieldSelectorAttributes labelSelector=9:LabelSelectorAttributes
        FieldSelectorAttributes rawSelector=1:string requirements=2:[]any
        LabelSelectorAttributes rawSelector=1:string requirements=2:[]LabelSelectorRequirement
        NonResourceAttributes path=1 verb=2
        SubjectAccessReview metadata=1 spec=2 status=3
        SubjectAccessReviewSpec resourceAttributes=1 nonResourceAttributes=2 user=3 groups=4 extra=5:map([]string) uid=6
        LocalSubjectAccessReview metadata=1 spec=2 status=3
        SelfSubjectRulesReview metadata=1 spec=2 status=3
        SelfSubjectRulesReviewSpec namespace=1
        SelfSubjectReview metadata=1 status=2
        TokenReview metadata=1 spec=2 status=3
        TokenReviewSpec token=1 audiences=2
        HorizontalPodAutoscaler metadata=1 spec=2 status=3
        HorizontalPodAutoscalerSpec scaleTargetRef=1 minReplicas=2? maxReplicas=3 metrics=4 behavior=5
        CrossVersionObjectReference kind=1 name=2 apiVersion=3
        MetricSpec type=1 object=2 pods=3 resource=4 containerResource=7 external=5:ExternalMetricSource
        ObjectMetricSource describedObject=1 target=2 metric=3
        MetricTarget type=1 value=2 averageValue=3 averageUtilization=4?
        MetricIdentifier name=1 selector=2
        PodsMetricSource metric=1 target=2
        ResourceMetricSource name=1 target=2
        ContainerResourceMetricSource name=1 target=2 container=3
        ExternalMetricSource metric=1:MetricIdentifier target=2:MetricTarget
        HorizontalPodAutoscalerBehavior scaleUp=1 scaleDown=2
        HPAScalingRules stabilizationWindowSeconds=3? selectPolicy=1? policies=2 tolerance=4
        HPAScalingPolicy type=1 value=2 periodSeconds=3
        ValidatingAdmissionPolicy metadata=1 spec=2:ValidatingAdmissionPolicySpec status=3
        ValidatingAdmissionPolicySpec paramKind=1:ParamKind matchConstraints=2:MatchResources validations=3:[]Validation failurePolicy=4?:string auditAnnotations=5:[]AuditAnnotation matchConditions=6:[]MatchCondition variables=7:[]Variable
        ParamKind apiVersion=1:string kind=2:string
        MatchResources namespaceSelector=1:LabelSelector objectSelector=2:LabelSelector resourceRules=3:[]NamedRuleWithOperations excludeResourceRules=4:[]NamedRuleWithOperations matchPolicy=7?:string
        NamedRuleWithOperations resourceNames=1:[]string *=2
        NamedRuleWithOperations* operations=1:[]string *=2
        NamedRuleWithOperations** apiGroups=1:[]string apiVersions=2:[]string resources=3:[]string scope=4?:string
        Validation expression=1:string message=2:string reason=3 messageExpression=4:string
        AuditAnnotation key=1:string valueExpression=2:string
        MatchCondition name=1:string expression=2:string
        Variable name=1:string expression=2:string
        ValidatingAdmissionPolicyBinding metadata=1 spec=2:ValidatingAdmissionPolicyBindingSpec
        ValidatingAdmissionPolicyBindingSpec policyName=1:string paramRef=2:ParamRef matchResources=3:MatchResources validationActions=4:[]string
        ParamRef name=1:string namespace=2:string selector=3:LabelSelector parameterNotFoundAction=4?:string
        HorizontalPodAutoscalerV1 metadata=1 spec=2 status=3
        HorizontalPodAutoscalerSpecV1 scaleTargetRef=1 minReplicas=2? maxReplicas=3 targetCPUUtilizationPercentage=4?
        EventV1 metadata=1 eventTime=2 series=3 reportingController=4 reportingInstance=5 action=6 reason=7 regarding=8 related=9 note=10 type=11 deprecatedSource=12 deprecatedFirstTimestamp=13 deprecatedLastTimestamp=14 deprecatedCount=15
        EventSeriesV1 count=1 lastObservedTime=2
        Scale metadata=1 spec=2 status=3
        ScaleSpec replicas=1?
        """
}
