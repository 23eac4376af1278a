extension DiagnosticCode {
    /// The Gateway API, ServiceEntries, security, and what configures proxies.
    static let accessEntries: [DiagnosticCode: Entry] = [
        .unknownGatewayClass: Entry(
            .warning, "A Gateway of a class that is not there",
            "name a GatewayClass, or make one with controllerName skein.dev/gateway-controller"),
        .listenerConflict: Entry(
            .error, "Listeners that claim the same port and host",
            "give each a port, host or protocol of its own"),
        .listenerPortUnavailable: Entry(
            .error, "A port that the gateway cannot open",
            "use another port"),
        .unsupportedListener: Entry(
            .error, "A listener or Gateway that cannot be served",
            "use what the message says"),
        .listenerRouteKinds: Entry(
            .warning, "A kind of route that does not fit the listener",
            "allow kinds that fit its protocol"),
        .listenerCertificate: Entry(
            .error, "A listener's certificate that cannot be used",
            "make the Secret (or ConfigMap) that it refers to"),
        .missingReferenceGrant: Entry(
            .error, "A reference to another namespace that nobody grants",
            "make a ReferenceGrant in the namespace that is referred to"),
        .listenerSetNotAllowed: Entry(
            .error, "A ListenerSet that its Gateway does not let in",
            "set spec.allowedListeners of the Gateway"),
        .unknownParent: Entry(
            .warning, "A route attached to something that is not there",
            "name an existing Gateway, listener or Service in parentRefs"),
        .routeNotAllowed: Entry(
            .error, "A route that no listener lets in",
            "set allowedRoutes of the listener, or move the route"),
        .routeHostsDoNotMeet: Entry(
            .error, "A route whose hosts no listener has",
            "use a host that the listener's hostname covers"),
        .unsupportedRoute: Entry(
            .error, "A route that cannot be served",
            "use what the message says"),
        .unknownBackend: Entry(
            .error, "A backend that is no service, or has no such port",
            "name a Service and one of its ports"),
        .unsupportedBackend: Entry(
            .error, "A backend or filter of a kind that is not known",
            "use a Service"),
        .routeWithoutParents: Entry(
            .warning, "A route that is attached to nothing",
            "name a Gateway or a Service in parentRefs"),
        .backendWeightsZero: Entry(
            .warning, "A rule whose backends get nothing",
            "give a backend a weight: such requests get 500"),
        .listenerWithoutRoutes: Entry(
            .info, "A listener without routes",
            "attach a route, or remove the listener"),
        .backendTLSPolicyRefused: Entry(
            .error, "A BackendTLSPolicy that has no effect",
            "let it target one Service of its namespace, once, with an authority that exists"),
        .unusedReferenceGrant: Entry(
            .info, "A ReferenceGrant for a namespace that does not use it",
            "remove it, or mend from and to"),
        .invalidEntryHost: Entry(
            .error, istio: ["IST0106"], "A host that a ServiceEntry cannot have",
            "use a name, or a wildcard with a resolution that allows it"),
        .entryHidesService: Entry(
            .warning, "A ServiceEntry with the name of a Kubernetes service",
            "use another host, or keep only subjectAltNames"),
        .entryHostTwice: Entry(
            .warning, "Two ServiceEntries for one host",
            "merge them"),
        .invalidEntryAddress: Entry(
            .error, "An address that is none",
            "write IP addresses or ranges such as 10.1.0.0/16"),
        .invalidEntryEndpoints: Entry(
            .error, "Endpoints that do not fit the resolution",
            "see the message: STATIC has addresses, DNS names, NONE nothing"),
        .entrySelectorWithoutEffect: Entry(
            .warning, "A selector that a ServiceEntry does not use",
            "use resolution STATIC or DNS with workloadSelector"),
        .entryWithoutEndpoints: Entry(
            .warning, "STATIC without endpoints",
            "list endpoints, or use workloadSelector"),
        .invalidEntryPort: Entry(
            .error, "A port that a ServiceEntry cannot have",
            "use numbers from 1 to 65535, each number and name once"),
        .datagramPort: Entry(
            .warning, "UDP, which is not proxied",
            "remove the port, or let it go its own way"),
        .entryAddressesNeeded: Entry(
            .warning, istio: ["IST0134"], "A port of any address that somebody else has",
            "give the ServiceEntry addresses"),
        .workloadGroupProbe: Entry(
            .info, "A probe that the workload's own agent makes",
            "run Istio's agent beside the workload's proxy, or remove the probe"),
        .workloadEntryWithoutAddress: Entry(
            .error, "A WorkloadEntry without an address",
            "set spec.address"),
        .workloadEntryUnused: Entry(
            .warning, "A WorkloadEntry that no service selects",
            "make a Service or ServiceEntry select its labels"),
        .workloadWithoutHealth: Entry(
            .warning, "A workload that takes no traffic: it has not been said to be healthy",
            "run Istio's agent beside the workload's proxy and see what its probe says, or remove spec.probe of the group"
        ),
        .workloadNetwork: Entry(
            .warning, "A network, which is not told apart",
            "remove the field"),
        .entrySelectsNothing: Entry(
            .warning, "A ServiceEntry whose selector nothing fits",
            "use labels that pods or WorkloadEntries of its namespace have"),
        .entryAddressTwice: Entry(
            .warning, "Two ServiceEntries for one address and port",
            "give each its own address"),
        .entryProtocolConflict: Entry(
            .warning, istio: ["IST0177"], "Two ServiceEntries that disagree about a port of a host",
            "give the port of the host the same protocol in both"),
        .policySelectsNothing: Entry(
            .warning, istio: ["IST0127"], "A policy for no pod",
            "use labels that the pods' template has"),
        .policyTarget: Entry(
            .warning, "A policy attached to what has no proxy",
            "attach it to a Gateway, or use selector"),
        .selectorInRootNamespace: Entry(
            .warning, "A PeerAuthentication with a selector in istio-system",
            "move it to the workload's namespace"),
        .peerAuthenticationTwice: Entry(
            .warning, "Two PeerAuthentications for the same pods",
            "merge them: the older one wins"),
        .mutualTLSConflict: Entry(
            .warning, "Callers that speak plain text where mutual TLS is demanded",
            "set tls.mode ISTIO_MUTUAL in the DestinationRule, or remove it; or make the PeerAuthentication PERMISSIVE"),
        .tokenWithoutKeys: Entry(
            .warning, "A JWT rule without keys that can be had",
            "set jwks or a jwksUri that can be fetched"),
        .tokensNotRequired: Entry(
            .warning, "Tokens that are checked, but not required",
            "add an AuthorizationPolicy with requestPrincipals: [\"*\"]"),
        .denyWithoutRules: Entry(
            .error, "A DENY that denies nothing",
            "write rules; one empty rule stands for everything"),
        .unknownAuthorizationProvider: Entry(
            .warning, "A provider that the mesh does not have",
            "declare it in extensionProviders of the mesh configuration"),
        .dryRunOfCustom: Entry(
            .error, "A dry run that is left out",
            "remove the annotation, or use ALLOW or DENY"),
        .identitiesSwitchedOff: Entry(
            .warning, "Identities without mutual TLS",
            "switch enableAutoMtls on, or use ipBlocks"),
        .denyOfConnections: Entry(
            .warning, "A DENY of requests that denies connections, too",
            "name the ports in operation.ports"),
        .principalWithoutIssuer: Entry(
            .warning, "A request principal that no token has",
            "add a RequestAuthentication with that issuer for the same pods"),
        .unknownSourceNamespace: Entry(
            .warning, istio: ["IST0101"], "A source in a namespace that is not there",
            "name a namespace that exists"),
        .policyPortUnknownToPods: Entry(
            .warning, "A policy for a port that its pods do not have",
            "use the container's port, not the Service's"),
        .portLevelWithoutSelector: Entry(
            .error, "Modes of ports without a selector",
            "add a selector: modes of ports count for selected pods only"),
        .issuerTwice: Entry(
            .warning, "Two JWT rules with one issuer",
            "merge them: tokens of the issuer are checked by both"),
        .policyWithoutSidecar: Entry(
            .warning, "A policy for pods without a sidecar",
            "let the pods have a sidecar: nobody enforces the policy"),
        .identityOfPlainText: Entry(
            .warning, "A policy that asks plain text for an identity",
            "use STRICT or PERMISSIVE, or ipBlocks in the policy"),
        .policySelectsGateway: Entry(
            .warning, istio: ["IST0166"], "A policy that selects a Gateway by its label",
            "name the Gateway in targetRefs instead of selector"),
        .sidecarTwice: Entry(
            .warning, istio: ["IST0110", "IST0111"], "Two Sidecars for the same pods",
            "merge them: the older one wins"),
        .sidecarSelectsNothing: Entry(
            .warning, istio: ["IST0101"], "A Sidecar for no pod",
            "use labels that the pods' template has"),
        .sidecarFieldWithoutEffect: Entry(
            .warning, "A field of a Sidecar that has no effect",
            "remove it"),
        .invalidSidecarHost: Entry(
            .error, "An egress host that is none",
            "write NAMESPACE/HOST"),
        .sidecarImportsNothing: Entry(
            .warning, "An egress host that imports nothing",
            "name a service that exists in that namespace"),
        .invalidSidecarEgress: Entry(
            .error, "An egress entry that cannot be",
            "see the message: bind needs a port, and only one entry is without"),
        .invalidSidecarIngress: Entry(
            .error, "An ingress entry that cannot be",
            "use a port from 1 to 65535 and an endpoint of the pod itself"),
        .telemetryTwice: Entry(
            .warning, istio: ["IST0159", "IST0160"], "Two Telemetries for the same pods",
            "merge them: the older one wins"),
        .unknownTelemetryProvider: Entry(
            .warning, istio: ["IST0157"], "A provider that cannot take it",
            "declare the provider in extensionProviders of the mesh configuration, with a service that exists"),
        .telemetryFieldWithoutEffect: Entry(
            .warning, "A field of a Telemetry that has no effect",
            "remove it"),
        .invalidTelemetry: Entry(
            .error, "A Telemetry that cannot be",
            "see the message"),
        .telemetrySelectsNothing: Entry(
            .warning, istio: ["IST0101"], "A Telemetry for no pod",
            "use labels that the pods' template has"),
        .proxyConfigFieldWithoutEffect: Entry(
            .warning, "A field of a ProxyConfig that has no effect",
            "remove it"),
        .proxyConfigSelectsNothing: Entry(
            .warning, "A ProxyConfig for no pod",
            "use labels that the pods' template has"),
        .invalidPatch: Entry(
            .error, istio: ["IST0152", "IST0153", "IST0154"], "A patch of an EnvoyFilter that cannot be",
            "see the message"),
        .unsupportedPatch: Entry(
            .warning, "A part of an EnvoyFilter that is left out",
            "see the message"),
        .patchSelectsNothing: Entry(
            .warning, "An EnvoyFilter for no pod",
            "use labels that the pods' template has"),
        .patchMatchesNothing: Entry(
            .warning, "A patch that matches nothing",
            "compare match with skein proxy-config of such a pod"),
        .patchLeftOut: Entry(
            .warning, "A patch that does not fit what it matches",
            "mend the value as the message says"),
        .patchOrder: Entry(
            .warning, istio: ["IST0151", "IST0155"], "A patch whose place depends on another EnvoyFilter",
            "set spec.priority of one of them"),
        .meshConfigFieldWithoutEffect: Entry(
            .warning, "A field of the mesh configuration that has no effect",
            "remove it, or mend its value"),
    ]
}
