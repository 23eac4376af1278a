/// What kind of finding a diagnostic is: a number that stays, for suppressing, counting and looking up.
///
/// The first two digits are the area. `docs/analysis` has a page for each, with an example and the mended example; a test
/// analyses both. Numbers are never used again.
public enum DiagnosticCode: String, Sendable, Hashable, CaseIterable {
    // Files and objects
    case unknownField = "SKN0101"
    case invalidValue = "SKN0102"
    case objectTwice = "SKN0103"
    case unknownAnnotation = "SKN0104"
    case annotationValue = "SKN0105"
    case misplacedAnnotation = "SKN0106"
    case annotationWithoutEffect = "SKN0107"
    case statusRefused = "SKN0108"

    // Services and workloads
    case serviceSelectsNothing = "SKN0201"
    case portNameWithoutProtocol = "SKN0202"
    case unknownTargetPortName = "SKN0203"
    case targetPortNotDeclared = "SKN0204"
    case workloadWithTwoProtocols = "SKN0205"
    case affinityTimeout = "SKN0206"
    case unknownTrafficDistribution = "SKN0207"
    case externalNameCircle = "SKN0208"
    case deploymentsShareSelector = "SKN0209"
    case externalNamePort = "SKN0210"
    case namespaceLabels = "SKN0211"
    case userOfProxy = "SKN0212"
    case imageOfInjector = "SKN0213"

    // VirtualService
    case unknownDestinationHost = "SKN0301"
    case unknownSubset = "SKN0302"
    case unknownDestinationPort = "SKN0303"
    case destinationPortNeeded = "SKN0304"
    case unknownGateway = "SKN0305"
    case weights = "SKN0306"
    case routeNeverReached = "SKN0307"
    case hostClaimedTwice = "SKN0308"
    case hostOfAnotherNamespace = "SKN0309"
    case invalidRuleHost = "SKN0310"
    case repeatedHost = "SKN0311"
    case wildcardInSidecars = "SKN0312"
    case ruleWithoutRoutes = "SKN0313"
    case routeAction = "SKN0314"
    case invalidDelegation = "SKN0315"
    case lostDelegate = "SKN0316"
    case matchersExclude = "SKN0317"
    case invalidRedirect = "SKN0318"
    case invalidDirectResponse = "SKN0319"
    case ruleFieldWithoutEffect = "SKN0320"
    case matchOutsideOfGateways = "SKN0321"
    case reservedHeader = "SKN0322"
    case invalidRewrite = "SKN0323"
    case invalidFault = "SKN0324"
    case faultWithoutPercentage = "SKN0325"
    case invalidRetries = "SKN0326"
    case retriesWithoutEffect = "SKN0327"
    case invalidMirror = "SKN0328"
    case corsWithoutOrigins = "SKN0329"
    case corsForEverySite = "SKN0330"
    case routeDoesNotCompile = "SKN0331"
    case invalidServerNames = "SKN0332"
    case invalidMatch = "SKN0333"
    case matchCovered = "SKN0334"
    case hostNotInGateway = "SKN0335"
    case matchPortUnknown = "SKN0336"
    case sourceWithoutWorkload = "SKN0337"
    case ruleHostWithoutService = "SKN0338"
    case claimCondition = "SKN0339"
    case rulesInsideOnly = "SKN0340"

    // DestinationRule
    case policyHostUnknown = "SKN0401"
    case subsetWithoutEndpoints = "SKN0402"
    case subsetTwice = "SKN0403"
    case policyOverruled = "SKN0404"
    case policyPortUnknown = "SKN0405"
    case invalidTunnel = "SKN0406"
    case tunnelForHTTP = "SKN0407"
    case outlierWithoutEffect = "SKN0408"
    case invalidOutlierDetection = "SKN0409"
    case invalidConnectionPool = "SKN0410"
    case policyFieldWithoutEffect = "SKN0411"
    case invalidConsistentHash = "SKN0412"
    case invalidLocality = "SKN0413"
    case failoverWithoutOutlierDetection = "SKN0414"
    case serverNotVerified = "SKN0415"
    case invalidClientTLS = "SKN0416"
    case unusedSubset = "SKN0417"
    case policyWithoutCallers = "SKN0418"
    case policyCredential = "SKN0419"
    case credentialForGatewaysOnly = "SKN0420"

    // Gateway and Ingress
    case gatewaySelectsNothing = "SKN0501"
    case gatewayPortClosed = "SKN0502"
    case gatewayFieldWithoutEffect = "SKN0503"
    case gatewayPortConflict = "SKN0504"
    case gatewayCertificateFiles = "SKN0505"
    case gatewayCredential = "SKN0506"
    case gatewayWithoutRules = "SKN0507"
    case gatewayPortNotOnService = "SKN0508"
    case certificateShared = "SKN0509"
    case unknownIngressClass = "SKN0511"
    case ingressCertificate = "SKN0512"
    case ingressBackend = "SKN0513"
    case ingressPathTwice = "SKN0514"
    case ingressBypassesRule = "SKN0515"

    // Gateway API
    case unknownGatewayClass = "SKN0601"
    case listenerConflict = "SKN0602"
    case listenerPortUnavailable = "SKN0603"
    case unsupportedListener = "SKN0604"
    case listenerRouteKinds = "SKN0605"
    case listenerCertificate = "SKN0606"
    case missingReferenceGrant = "SKN0607"
    case listenerSetNotAllowed = "SKN0608"
    case unknownParent = "SKN0609"
    case routeNotAllowed = "SKN0610"
    case routeHostsDoNotMeet = "SKN0611"
    case unsupportedRoute = "SKN0612"
    case unknownBackend = "SKN0613"
    case unsupportedBackend = "SKN0614"
    case routeWithoutParents = "SKN0615"
    case backendWeightsZero = "SKN0616"
    case listenerWithoutRoutes = "SKN0617"
    case backendTLSPolicyRefused = "SKN0618"
    case unusedReferenceGrant = "SKN0619"

    // ServiceEntry and workloads outside of the cluster
    case invalidEntryHost = "SKN0701"
    case entryHidesService = "SKN0702"
    case entryHostTwice = "SKN0703"
    case invalidEntryAddress = "SKN0704"
    case invalidEntryEndpoints = "SKN0705"
    case entrySelectorWithoutEffect = "SKN0706"
    case entryWithoutEndpoints = "SKN0707"
    case invalidEntryPort = "SKN0708"
    case datagramPort = "SKN0709"
    case entryAddressesNeeded = "SKN0710"
    case workloadGroupProbe = "SKN0711"
    case workloadEntryWithoutAddress = "SKN0712"
    case workloadEntryUnused = "SKN0713"
    case workloadNetwork = "SKN0714"
    case entrySelectsNothing = "SKN0715"
    case entryAddressTwice = "SKN0716"
    case entryProtocolConflict = "SKN0717"
    case workloadWithoutHealth = "SKN0718"

    // Security
    case policySelectsNothing = "SKN0801"
    case policyTarget = "SKN0802"
    case selectorInRootNamespace = "SKN0803"
    case peerAuthenticationTwice = "SKN0804"
    case mutualTLSConflict = "SKN0805"
    case tokenWithoutKeys = "SKN0806"
    case tokensNotRequired = "SKN0807"
    case denyWithoutRules = "SKN0808"
    case unknownAuthorizationProvider = "SKN0809"
    case dryRunOfCustom = "SKN0810"
    case identitiesSwitchedOff = "SKN0811"
    case denyOfConnections = "SKN0812"
    case principalWithoutIssuer = "SKN0813"
    case unknownSourceNamespace = "SKN0814"
    case policyPortUnknownToPods = "SKN0815"
    case portLevelWithoutSelector = "SKN0816"
    case issuerTwice = "SKN0817"
    case policyWithoutSidecar = "SKN0818"
    case identityOfPlainText = "SKN0819"
    case policySelectsGateway = "SKN0820"

    // Sidecar, Telemetry, ProxyConfig, EnvoyFilter and the mesh configuration
    case sidecarTwice = "SKN0901"
    case sidecarSelectsNothing = "SKN0902"
    case sidecarFieldWithoutEffect = "SKN0903"
    case invalidSidecarHost = "SKN0904"
    case sidecarImportsNothing = "SKN0905"
    case invalidSidecarEgress = "SKN0906"
    case invalidSidecarIngress = "SKN0907"
    case telemetryTwice = "SKN0911"
    case unknownTelemetryProvider = "SKN0912"
    case telemetryFieldWithoutEffect = "SKN0913"
    case invalidTelemetry = "SKN0914"
    case telemetrySelectsNothing = "SKN0915"
    case proxyConfigFieldWithoutEffect = "SKN0921"
    case proxyConfigSelectsNothing = "SKN0922"
    case invalidPatch = "SKN0931"
    case unsupportedPatch = "SKN0932"
    case patchSelectsNothing = "SKN0933"
    case patchMatchesNothing = "SKN0934"
    case patchLeftOut = "SKN0935"
    case patchOrder = "SKN0936"
    case meshConfigFieldWithoutEffect = "SKN0941"

    /// `SKN0301`.
    public var id: String { rawValue }
    /// How bad it is.
    public var severity: Diagnostic.Severity { entry.severity }
    /// What was found, in a few words.
    public var title: String { entry.title }
    /// What to do about it.
    public var advice: String { entry.advice }
    /// The codes of Istio's analyzer for the same; mostly one or none.
    public var istioCodes: [String] { entry.istio }
    /// The page about it in the repository.
    public var page: String { "docs/analysis/\(rawValue).md" }

    /// What is known of a code.
    struct Entry {
        var severity: Diagnostic.Severity
        var istio: [String]
        var title: String
        var advice: String

        init(_ severity: Diagnostic.Severity, istio: [String] = [], _ title: String, _ advice: String) {
            self.severity = severity
            self.istio = istio
            self.title = title
            self.advice = advice
        }
    }

    /// Every code is in one of the tables: a test asks for all of them.
    private var entry: Entry {
        Self.trafficEntries[self] ?? Self.accessEntries[self] ?? Entry(.warning, rawValue, "")
    }
}
