extension SchemaTable {
    /// `apiextensions.k8s.io`, `admissionregistration.k8s.io`.
    static let definitions = """
        @io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1
        CustomResourceDefinition
          spec! CustomResourceDefinitionSpec
          status any
        CustomResourceDefinitionSpec
          group! string
          names! CustomResourceDefinitionNames
          scope! string enum=Cluster|Namespaced
          versions! []CustomResourceDefinitionVersion
          conversion CustomResourceConversion
          preserveUnknownFields bool
        CustomResourceDefinitionNames
          plural! string
          singular string
          shortNames []string
          kind! string
          listKind string
          categories []string
        CustomResourceConversion
          strategy! string
          webhook any
        CustomResourceDefinitionVersion
          name! string
          served! bool
          storage! bool
          deprecated bool
          deprecationWarning string
          schema CustomResourceValidation
          subresources CustomResourceSubresources
          additionalPrinterColumns []CustomResourceColumnDefinition
          selectableFields any
        CustomResourceValidation
          openAPIV3Schema any
        CustomResourceSubresources
          status any
          scale CustomResourceSubresourceScale
        CustomResourceSubresourceScale
          specReplicasPath! string
          statusReplicasPath! string
          labelSelectorPath string
        CustomResourceColumnDefinition
          name! string
          type! string
          format string
          description string
          priority int32
          jsonPath! string
        @io.k8s.api.admissionregistration.v1
        ValidatingAdmissionPolicy
          spec any
          status any
        ValidatingAdmissionPolicyBinding
          spec any
        """

    /// `rbac.authorization.k8s.io`, `authorization.k8s.io`, `authentication.k8s.io`.
    static let access = """
        @io.k8s.api.rbac.v1
        Role
          rules []PolicyRule
        ClusterRole
          rules []PolicyRule
          aggregationRule AggregationRule
        AggregationRule
          clusterRoleSelectors []LabelSelector
        PolicyRule
          verbs! []string
          apiGroups []string
          resources []string
          resourceNames []string
          nonResourceURLs []string
        RoleBinding
          subjects []Subject
          roleRef! RoleRef
        ClusterRoleBinding
          subjects []Subject
          roleRef! RoleRef
        Subject
          kind! string
          apiGroup string
          name! string
          namespace string
        RoleRef
          apiGroup string default="rbac.authorization.k8s.io"
          kind! string
          name! string
        @io.k8s.api.authorization.v1
        SelfSubjectAccessReview
          spec! SelfSubjectAccessReviewSpec
          status SubjectAccessReviewStatus
        SelfSubjectAccessReviewSpec
          resourceAttributes ResourceAttributes
          nonResourceAttributes NonResourceAttributes
        SubjectAccessReview
          spec! SubjectAccessReviewSpec
          status SubjectAccessReviewStatus
        LocalSubjectAccessReview
          spec! SubjectAccessReviewSpec
          status SubjectAccessReviewStatus
        SubjectAccessReviewSpec
          resourceAttributes ResourceAttributes
          nonResourceAttributes NonResourceAttributes
          user string
          groups []string
          extra any
          uid string
        ResourceAttributes
          namespace string
          verb string
          group string
          version string
          resource string
          subresource string
          name string
          fieldSelector any
          labelSelector any
        NonResourceAttributes
          path string
          verb string
        SubjectAccessReviewStatus
          allowed bool
          denied bool
          reason string
          evaluationError string
        SelfSubjectRulesReview
          spec! SelfSubjectRulesReviewSpec
          status any
        SelfSubjectRulesReviewSpec
          namespace string
        @io.k8s.api.authentication.v1
        SelfSubjectReview
          status any
        TokenReview
          spec! TokenReviewSpec
          status any
        TokenReviewSpec
          token string
          audiences []string
        """
}
