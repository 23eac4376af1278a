extension SchemaTable {
    /// Storage that outlives pods.
    ///
    /// Of a volume's sources nodes mount `hostPath`, `local` and our own driver's `csi`; the others are kept as they are.
    static let storage = """
        @io.k8s.api.core.v1
        PersistentVolumeClaim
          spec! PersistentVolumeClaimSpec
          status PersistentVolumeClaimStatus
        PersistentVolumeClaimTemplateEntry
          apiVersion string default="v1"
          kind string default="PersistentVolumeClaim"
          metadata ObjectMeta
          spec PersistentVolumeClaimSpec
          status PersistentVolumeClaimStatus default={}
        PersistentVolumeClaimSpec
          accessModes []string
          selector LabelSelector
          resources VolumeResourceRequirements
          volumeName string
          storageClassName string
          volumeMode string default="Filesystem" enum=Block|Filesystem
          dataSource TypedLocalObjectReference
          dataSourceRef any
          volumeAttributesClassName string
        VolumeResourceRequirements
          limits map(quantity)
          requests map(quantity)
        PersistentVolumeClaimStatus
          phase string default="Pending"
          accessModes []string
          capacity map(quantity)
          conditions []Condition merge=type
          allocatedResources map(quantity)
          allocatedResourceStatuses map(string)
          currentVolumeAttributesClassName string
          modifyVolumeStatus any
        PersistentVolume
          spec! PersistentVolumeSpec
          status PersistentVolumeStatus
        PersistentVolumeSpec
          capacity map(quantity)
          hostPath HostPathVolumeSource
          local LocalVolumeSource
          csi CSIPersistentVolumeSource
          nfs any
          gcePersistentDisk any
          awsElasticBlockStore any
          glusterfs any
          rbd any
          iscsi any
          cinder any
          cephfs any
          fc any
          flocker any
          flexVolume any
          azureFile any
          vsphereVolume any
          quobyte any
          azureDisk any
          photonPersistentDisk any
          portworxVolume any
          scaleIO any
          storageos any
          accessModes []string
          claimRef ObjectReference
          persistentVolumeReclaimPolicy string default="Retain" enum=Delete|Retain
          storageClassName string
          mountOptions []string
          volumeMode string default="Filesystem" enum=Block|Filesystem
          nodeAffinity VolumeNodeAffinity
          volumeAttributesClassName string
        LocalVolumeSource
          path! string
          fsType string
        CSIPersistentVolumeSource
          driver! string
          volumeHandle! string
          readOnly bool
          fsType string
          volumeAttributes map(string)
          controllerPublishSecretRef any
          nodeStageSecretRef any
          nodePublishSecretRef any
          controllerExpandSecretRef any
          nodeExpandSecretRef any
        VolumeNodeAffinity
          required any
        PersistentVolumeStatus
          phase string
          message string
          reason string
          lastPhaseTransitionTime time
        @io.k8s.api.storage.v1
        StorageClass
          provisioner! string
          parameters map(string)
          reclaimPolicy string default="Delete" enum=Delete|Retain
          mountOptions []string
          allowVolumeExpansion bool
          volumeBindingMode string default="Immediate" enum=Immediate|WaitForFirstConsumer
          allowedTopologies any
        """
}
