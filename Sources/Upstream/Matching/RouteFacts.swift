public import CEL
public import Serialization

/// What routing may ask about a request besides its head.
///
/// The proxy's stream answers; what is asked only by few routes costs the others nothing.
public protocol RouteFacts {
    /// Whether the client presented a certificate, and whether it was validated; nil without TLS.
    var clientCertificate: (isPresented: Bool, isValidated: Bool)? { get }
    /// Whether the request comes from inside (`x-envoy-internal`).
    var isInternal: Bool { get }
    /// Dynamic metadata of a namespace.
    func metadata(_ namespace: String) -> JSON?
    /// A filter state object as text.
    func filterState(_ key: String) -> String?
    /// The value of a runtime key, when there is one.
    func runtimeValue(_ key: String) -> JSON?
    /// A fact about the connection that matcher trees ask for.
    func connectionFact(_ fact: ConnectionFact) -> String?
    /// The value of an expression about the request.
    func evaluate(_ condition: CELCondition) -> Result<CELValue, CELError>
}

extension RouteFacts {
    /// Where nothing is known of the attributes, all of them are absent.
    public func evaluate(_ condition: CELCondition) -> Result<CELValue, CELError> { condition.evaluate(CELNothing()) }

    /// Whether an expression is true: what has no value is not.
    public func holds(_ condition: CELCondition) -> Bool {
        if case .success(.bool(true)) = evaluate(condition) { true } else { false }
    }
}

/// Facts about a connection, as matcher inputs name them.
public enum ConnectionFact: Sendable, Hashable {
    /// Address the client meant.
    case destinationIP
    /// Port the client meant.
    case destinationPort
    /// The client's address.
    case sourceIP
    /// The client's port.
    case sourcePort
    /// The peer's address.
    case directSourceIP
    /// `local` when client and proxy are on one machine.
    case sourceType
    /// SNI.
    case serverName
    /// `tls` or `raw_buffer`.
    case transportProtocol
    /// ALPN protocols, each in quotes, separated by commas.
    case applicationProtocols
    /// URI SANs of the client's certificate, separated by commas.
    case uriSAN
    /// DNS SANs of the client's certificate, separated by commas.
    case dnsSAN
    /// Subject of the client's certificate.
    case subject
}

/// Nothing is known.
public struct NoFacts: RouteFacts {
    /// Nothing.
    public init() {}
    /// No TLS.
    public var clientCertificate: (isPresented: Bool, isValidated: Bool)? { nil }
    /// From outside.
    public var isInternal: Bool { false }
    /// None.
    public func metadata(_ namespace: String) -> JSON? { nil }
    /// None.
    public func filterState(_ key: String) -> String? { nil }
    /// None.
    public func runtimeValue(_ key: String) -> JSON? { nil }
    /// None.
    public func connectionFact(_ fact: ConnectionFact) -> String? { nil }
}

/// A share of requests that runtime may change: `RuntimeFractionalPercent`.
public struct RuntimeFraction: Sendable, Hashable {
    /// What counts without a runtime value.
    public var standard: Fraction
    /// Its key; nil is none.
    public var key: String?

    /// The share in force: a number is percent, an object is a `FractionalPercent`.
    public func fraction(_ facts: some RouteFacts) -> Fraction {
        guard let key, let value = facts.runtimeValue(key) else { return standard }
        if let number = value.int, number >= 0 {
            return Fraction(numerator: UInt32(clamping: number), denominator: 100)
        }
        guard let numerator = value["numerator"]?.int else { return standard }
        let denominators: [String: UInt32] = ["HUNDRED": 100, "TEN_THOUSAND": 10_000, "MILLION": 1_000_000]
        return Fraction(
            numerator: UInt32(clamping: numerator),
            denominator: denominators[value["denominator"]?.string ?? "HUNDRED"] ?? 100)
    }
}
