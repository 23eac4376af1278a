extension DiagnosticCode {
    /// Files, services, VirtualServices, DestinationRules, Istio Gateways and Ingresses.
    static let trafficEntries: [DiagnosticCode: Entry] = [
        .unknownField: Entry(
            .error, istio: ["IST0106"], "A field that the kind does not have",
            "remove the field or mend its spelling; case counts"),
        .invalidValue: Entry(
            .error, istio: ["IST0106"], "A value that the field cannot have, or one that is missing",
            "give the field a value that the message allows"),
        .objectTwice: Entry(
            .warning, "The same object is written twice",
            "keep one of the two: the later one replaces the earlier"),
        .unknownAnnotation: Entry(
            .warning, istio: ["IST0108"], "An annotation that nobody reads",
            "mend the spelling of the annotation; case counts"),
        .annotationValue: Entry(
            .warning, istio: ["IST0125"], "An annotation with a value that it cannot have",
            "give the annotation a value that the message allows"),
        .misplacedAnnotation: Entry(
            .warning, istio: ["IST0107"], "An annotation at the wrong kind of object",
            "move the annotation to where it counts; what is for pods stands in the template of a Deployment"),
        .annotationWithoutEffect: Entry(
            .info, "An annotation of Istio that has no effect here",
            "remove the annotation, or leave it for clusters that run Istio"),
        .statusRefused: Entry(
            .warning, istio: ["IST0171"], "A status that says that the object is not in force",
            "mend what the condition's message names; its controller says why"),
        .namespaceLabels: Entry(
            .warning, istio: ["IST0123"], "A namespace with two labels about sidecars",
            "keep one of istio-injection and istio.io/rev"),
        .userOfProxy: Entry(
            .error, istio: ["IST0144"], "A container that runs as the proxy's user",
            "choose another runAsUser than 1337"),
        .imageOfInjector: Entry(
            .error, istio: ["IST0146", "IST0147"], "A container whose image an injector is to choose",
            "name the image; a gateway is part of Skein and needs no Deployment"),
        .rulesInsideOnly: Entry(
            .info, istio: ["IST0140"], "Routes of a host that a gateway does not heed",
            "name the gateway in spec.gateways of the other rule, or write its routes here"),
        .certificateShared: Entry(
            .warning, istio: ["IST0138"], "One certificate for hosts of two Gateways",
            "put the hosts into one Gateway, or give each a certificate of its own"),
        .serviceSelectsNothing: Entry(
            .warning, "A Service whose selector no pod fits",
            "make the selector fit the labels of the pods' template, or remove the Service"),
        .portNameWithoutProtocol: Entry(
            .info, istio: ["IST0118"], "A port name that begins like a protocol, but is none",
            "name the port PROTOCOL or PROTOCOL-SUFFIX (http-web), or set appProtocol"),
        .unknownTargetPortName: Entry(
            .warning, "A target port by a name that no selected pod has",
            "name a port of the pods' containers, or give its number"),
        .targetPortNotDeclared: Entry(
            .info, "A target port that no container declares",
            "check that the application listens on that port, and declare it in containers[].ports"),
        .workloadWithTwoProtocols: Entry(
            .warning, istio: ["IST0116"], "One port of a workload with two protocols",
            "give the port the same protocol in all Services, or another port in the workload"),
        .affinityTimeout: Entry(
            .warning, "A time of session affinity, which has no effect",
            "remove the time"),
        .unknownTrafficDistribution: Entry(
            .warning, "A traffic distribution that is not known",
            "write PreferSameZone, PreferSameNode or PreferClose"),
        .externalNameCircle: Entry(
            .warning, "External names that lead in a circle",
            "let externalName be a name outside of the circle"),
        .deploymentsShareSelector: Entry(
            .warning, "Two Deployments that select the same pods",
            "give each Deployment a selector of its own"),
        .externalNamePort: Entry(
            .info, istio: ["IST0150"], "A port of an external name that does not say what is spoken",
            "name the port after its protocol (http, https, grpc, tcp-…), or set appProtocol"),
        .unknownDestinationHost: Entry(
            .warning, istio: ["IST0101"], "A destination that is no service",
            "name a service that exists (short names are looked up in the rule's namespace), or add a ServiceEntry"),
        .unknownSubset: Entry(
            .warning, istio: ["IST0101"], "A subset that no DestinationRule defines",
            "define the subset in a DestinationRule for the host, or use one that is defined"),
        .unknownDestinationPort: Entry(
            .warning, istio: ["IST0101"], "A destination port that the service does not have",
            "use one of the service's ports, not the container's"),
        .destinationPortNeeded: Entry(
            .warning, istio: ["IST0112"], "A destination with several ports and none chosen",
            "set destination.port.number"),
        .unknownGateway: Entry(
            .warning, istio: ["IST0101"], "A Gateway that is not there",
            "name an existing Gateway as NAMESPACE/NAME; without a namespace the rule's own is meant"),
        .weights: Entry(
            .error, "Weights that cannot be used",
            "give weights of 0 or more, at least one of them more than 0"),
        .routeNeverReached: Entry(
            .warning, istio: ["IST0130", "IST0131"], "A route that is never reached",
            "put the route before the one that takes its requests, or remove it"),
        .hostClaimedTwice: Entry(
            .warning, istio: ["IST0109"], "Two VirtualServices for one host",
            "merge the two rules into one, or divide the hosts"),
        .hostOfAnotherNamespace: Entry(
            .warning, "A rule for a host of another namespace",
            "move the rule to the host's namespace, or let a ReferenceGrant there allow it"),
        .invalidRuleHost: Entry(
            .error, istio: ["IST0106"], "A host that is no host name",
            "write a name, * or *. and a suffix"),
        .repeatedHost: Entry(
            .error, "A host that another one of the rule covers",
            "remove one of the two"),
        .wildcardInSidecars: Entry(
            .error, "The host * in a rule for sidecars",
            "name the hosts, or the gateways in spec.gateways"),
        .ruleWithoutRoutes: Entry(
            .error, istio: ["IST0106"], "A rule without routes",
            "write http, tls or tcp"),
        .routeAction: Entry(
            .error, istio: ["IST0106"], "A route with no action, or several",
            "write one of route, redirect, directResponse and delegate"),
        .invalidDelegation: Entry(
            .error, "A delegation that cannot be",
            "only a rule with hosts delegates, and only http routes without hosts are delegated to"),
        .lostDelegate: Entry(
            .warning, "A delegate that is not reached",
            "let the two rules name each other's conditions and namespaces, see the message"),
        .matchersExclude: Entry(
            .error, "A text with two ways of matching",
            "write one of exact, prefix and regex"),
        .invalidRedirect: Entry(
            .error, "A redirect that cannot be",
            "use code 301, 302, 303, 307 or 308, and either port or derivePort"),
        .invalidDirectResponse: Entry(
            .error, "A direct response that cannot be",
            "use a status from 200 to 599, and either string or bytes for a body"),
        .ruleFieldWithoutEffect: Entry(
            .warning, "A field of a rule that has no effect",
            "write what the message says in its place, or remove the field"),
        .matchOutsideOfGateways: Entry(
            .warning, "A condition on gateways that does not hold",
            "name gateways of spec.gateways; sourceLabels are for rules without match.gateways"),
        .reservedHeader: Entry(
            .error, "A header that cannot be changed",
            "use rewrite.authority for the host; leave names with a colon alone"),
        .invalidRewrite: Entry(
            .error, "A rewrite that cannot be",
            "write either uri or uriRegexRewrite, beside a route"),
        .invalidFault: Entry(
            .error, "A fault that cannot be",
            "give a delay a fixedDelay, an abort a status, and percentages between 0 and 100"),
        .faultWithoutPercentage: Entry(
            .warning, "A fault for nobody",
            "set percentage.value"),
        .invalidRetries: Entry(
            .error, "Retries or a timeout that cannot be",
            "use times of 1 ms or more and conditions from the list in the message"),
        .retriesWithoutEffect: Entry(
            .warning, "Retries that never happen",
            "give attempts 1 or more, and perTryTimeout less than timeout"),
        .invalidMirror: Entry(
            .error, "A mirror that cannot be",
            "mirror what is routed, to one list of destinations, with a percentage between 0 and 100"),
        .corsWithoutOrigins: Entry(
            .warning, "CORS without origins",
            "list the origins in allowOrigins"),
        .corsForEverySite: Entry(
            .warning, "Credentials for every origin",
            "list the origins that you trust, or switch allowCredentials off"),
        .routeDoesNotCompile: Entry(
            .error, "A route that no proxy can use",
            "mend what the message says; regular expressions are RE2"),
        .invalidServerNames: Entry(
            .error, "A TLS route without its server names",
            "list in sniHosts names that spec.hosts covers"),
        .invalidMatch: Entry(
            .error, "A condition that cannot hold",
            "write ports between 1 and 65535 and subnets as ADDRESS/LENGTH"),
        .matchCovered: Entry(
            .warning, istio: ["IST0131"], "A condition behind one that covers it",
            "put the narrower condition first, or remove it"),
        .hostNotInGateway: Entry(
            .warning, istio: ["IST0132"], "A host that the Gateway does not serve",
            "add the host to a server of the Gateway, or use one of its hosts"),
        .matchPortUnknown: Entry(
            .warning, "A condition on a port that nobody has",
            "use a port of the service (or of the Gateway's server)"),
        .sourceWithoutWorkload: Entry(
            .warning, "A condition on callers that do not exist",
            "use labels that pods of the callers' namespace have"),
        .ruleHostWithoutService: Entry(
            .info, "A rule of the mesh for a host that is no service",
            "name a service, or add a ServiceEntry: other callers never look the name up"),
        .claimCondition: Entry(
            .warning, istio: ["IST0149"], "A route by a claim of a token",
            "decide by claims in an AuthorizationPolicy (request.auth.claims), or let RequestAuthentication write the claim to a header"
        ),
        .policyHostUnknown: Entry(
            .warning, istio: ["IST0174"], "A DestinationRule for no service",
            "name a service that exists, or add a ServiceEntry"),
        .subsetWithoutEndpoints: Entry(
            .warning, istio: ["IST0173"], "A subset that no endpoint belongs to",
            "use labels that the pods' template has"),
        .subsetTwice: Entry(
            .error, "A subset that is defined twice",
            "remove one definition, or rename it"),
        .policyOverruled: Entry(
            .warning, "Two DestinationRules with a policy for one host",
            "merge them: subsets of both count, the traffic policy of the older only"),
        .policyPortUnknown: Entry(
            .warning, "Settings for a port that the service does not have",
            "use a port of the service"),
        .invalidTunnel: Entry(
            .error, "A tunnel that cannot be",
            "set protocol to CONNECT or POST, targetHost and targetPort"),
        .tunnelForHTTP: Entry(
            .warning, "A tunnel for HTTP, which is not tunnelled",
            "declare the port as tcp or tls, or remove the tunnel"),
        .outlierWithoutEffect: Entry(
            .warning, "An outlier limit that is never reached",
            "make consecutiveGatewayErrors smaller, or set consecutive5xxErrors to 0"),
        .invalidOutlierDetection: Entry(
            .error, "Outlier detection that cannot be",
            "use times above 0, percentages from 0 to 100, and HTTP statuses"),
        .invalidConnectionPool: Entry(
            .error, "A limit of connections that cannot be",
            "use limits of 0 or more and times above 0"),
        .policyFieldWithoutEffect: Entry(
            .warning, "A field of a policy that has no effect",
            "remove it, or what it stands beside"),
        .invalidConsistentHash: Entry(
            .error, "Consistent hashing that cannot be",
            "name one key, and a table that is a prime number, or a ring within bounds"),
        .invalidLocality: Entry(
            .error, "A locality setting that cannot be",
            "write one of distribute, failover and failoverPriority; shares of 100 in all"),
        .failoverWithoutOutlierDetection: Entry(
            .warning, "Failover without outlier detection",
            "add outlierDetection: nothing else tells that a locality fails"),
        .serverNotVerified: Entry(
            .warning, istio: ["IST0128", "IST0129"], "TLS to servers that the system's authorities vouch for",
            "set caCertificates or credentialName"),
        .invalidClientTLS: Entry(
            .error, "TLS settings that cannot be",
            "MUTUAL needs a certificate and key; ISTIO_MUTUAL none"),
        .unusedSubset: Entry(
            .info, "A subset to which nothing is sent",
            "route to it in a VirtualService, or remove it"),
        .policyWithoutCallers: Entry(
            .warning, "A DestinationRule that no caller sees",
            "put it in the namespace of the service, of the callers, or istio-system"),
        .policyCredential: Entry(
            .warning, istio: ["IST0101"], "A Secret for TLS to a service that is not there",
            "make the Secret where the proxy looks for it: in the namespace of the pods, or of the gateway"),
        .credentialForGatewaysOnly: Entry(
            .info, "A Secret for TLS that only gateways use",
            "add a workloadSelector if sidecars are to use it"),
        .gatewaySelectsNothing: Entry(
            .warning, istio: ["IST0101"], "A Gateway without a pod",
            "use the labels of a gateway pod, such as istio: ingressgateway"),
        .gatewayPortClosed: Entry(
            .warning, "A server of a Gateway that is not opened",
            "use HTTP, HTTPS, GRPC, HTTP2, TLS or TCP, with tls settings where TLS is spoken"),
        .gatewayFieldWithoutEffect: Entry(
            .warning, "A field of a Gateway that has no effect",
            "remove it"),
        .gatewayPortConflict: Entry(
            .warning, istio: ["IST0145"], "Two Gateways for one port",
            "let a port speak one thing, and one Gateway have a host"),
        .gatewayCertificateFiles: Entry(
            .warning, "A certificate in a file of the gateway's pod",
            "put it in a Secret and name that in credentialName"),
        .gatewayCredential: Entry(
            .warning, istio: ["IST0161", "IST0101"], "A certificate that is not there, or cannot be used",
            "make a Secret with tls.crt and tls.key in the gateway's namespace"),
        .gatewayWithoutRules: Entry(
            .info, "A Gateway that no rule names",
            "name it in spec.gateways of a VirtualService"),
        .gatewayPortNotOnService: Entry(
            .warning, istio: ["IST0162"], "A port that the gateway's Service does not have",
            "add the port to the Service of the gateway's pods"),
        .unknownIngressClass: Entry(
            .warning, "An Ingress of a class that is not there",
            "use class skein, or make an IngressClass"),
        .ingressCertificate: Entry(
            .warning, "A certificate of an Ingress that cannot be used",
            "make a Secret of type kubernetes.io/tls in the namespace of the Ingress"),
        .ingressBackend: Entry(
            .warning, "A backend of an Ingress that cannot be reached",
            "name a service of the Ingress's namespace and one of its ports"),
        .ingressPathTwice: Entry(
            .warning, "Two Ingresses for one host and path",
            "remove one of the two: the older one is served"),
        .ingressBypassesRule: Entry(
            .info, istio: ["IST0140"], "A rule that requests by an Ingress do not pass",
            "bind the rule to a Gateway for the host, or write the Ingress so that it needs no rule"),
    ]
}
