public import Serialization
public import TLS

/// The key and certificate of one workload as its node keeps them, and when something is to be done about them.
///
/// Pure but for making the key: time and chance come in.
public struct WorkloadCredentials: Sendable {
    /// The workload's key; it never leaves the node.
    public private(set) var key: PrivateKey
    /// The certificate, then its intermediates; empty while there is none.
    public private(set) var chain: [Certificate] = []
    /// What is trusted; nil while nobody has said.
    public private(set) var bundle: TrustBundle?
    /// The number of the reissue under which the certificate was asked for.
    public private(set) var reissue = 0
    /// The reissue that the authority wants.
    private var wantedReissue = 0
    /// When the certificate is to be renewed.
    public private(set) var renewal: Int64 = 0
    /// The key that is being certified: a new one for each certificate.
    private var nextKey: PrivateKey?
    private var requestReissue = 0
    /// How often in a row there was no certificate.
    public private(set) var failures = 0
    /// Why there was none the last time; empty when there was.
    public private(set) var problem = ""
    private var notBefore: Int64 = 0

    /// How long an answer is waited for, seconds.
    public static let answerTimeout: Int64 = 10

    /// Without a certificate.
    public init() throws(IdentityError) {
        do throws(TLSError) { key = try PrivateKey.makeP256() } catch { throw IdentityError(error) }
    }

    /// Whether everything is there that a proxy needs.
    public var isComplete: Bool { !chain.isEmpty && bundle != nil }

    /// When something is to be done next: ask for a certificate.
    public func nextDeadline(now: Int64) -> Int64 {
        if chain.isEmpty || reissue < wantedReissue { return notBefore }
        return max(renewal, notBefore)
    }

    /// Makes a request for a new key when it is time; nil when it is not.
    public mutating func request(now: Int64) throws(IdentityError) -> [UInt8]? {
        guard now >= nextDeadline(now: now) else { return nil }
        do throws(TLSError) {
            let fresh = try PrivateKey.makeP256()
            let request = try CertificateRequest.make(subject: DistinguishedName(), key: fresh)
            nextKey = fresh
            requestReissue = wantedReissue
            // Until then an answer may come.
            notBefore = now + Self.answerTimeout
            return request.pem
        } catch { throw IdentityError(error) }
    }

    /// Takes the certificate that was asked for.
    public mutating func certified(_ pem: [UInt8], now: Int64, jitter: Double) throws(IdentityError) {
        guard let fresh = nextKey else { return }  // An answer that came too late: the next one is under way.
        let made: [Certificate]
        do throws(TLSError) { made = try Certificate.all(pem: pem) } catch { throw IdentityError(error) }
        guard let leaf = made.first, leaf.matches(fresh) else {
            throw IdentityError(.authority, "the certificate is for another key")
        }
        key = fresh
        chain = made
        nextKey = nil
        reissue = requestReissue
        renewal = CertificateSchedule.renewal(notBefore: leaf.notBefore, notAfter: leaf.notAfter, jitter: jitter)
        failures = 0
        problem = ""
        notBefore = 0
    }

    /// There is no certificate, for that reason: another try later.
    public mutating func failed(_ reason: String, now: Int64, jitter: Double) {
        nextKey = nil
        problem = reason
        notBefore = CertificateSchedule.retry(attempt: failures, now: now, jitter: jitter)
        failures += 1
    }

    /// Nobody will answer what was asked: it may be asked again at once.
    public mutating func abandonRequest() {
        nextKey = nil
        notBefore = 0
    }

    /// Takes what is to be trusted; whether it is new.
    public mutating func trust(_ bundle: TrustBundle, reissue: Int) -> Bool {
        wantedReissue = reissue
        guard self.bundle != bundle else { return false }
        self.bundle = bundle
        return true
    }

    /// The id that the certificate names.
    public var identity: String {
        for case .uri(let uri) in chain.first?.alternativeNames ?? [] { return uri }
        return ""
    }

    /// The root that the certificate leads to, by the first digits of its fingerprint.
    public var root: String {
        guard let top = chain.last else { return "" }
        return bundle?.roots.first { top.isSigned(by: $0) || top == $0 }.map(Authority.id) ?? ""
    }

    /// The certificate chain as PEM.
    public var chainPEM: [UInt8] { chain.flatMap(\.pem) }

    // MARK: Keeping

    /// Everything with the key, to be kept where nobody else can read it.
    public var secretJSON: JSON {
        func text(_ bytes: [UInt8]) -> JSON { .string(String(decoding: bytes, as: UTF8.self)) }
        return [
            "key": text(key.pem), "chain": text(chainPEM), "roots": text(bundle?.pem ?? []),
            "reissue": .integer(Int64(reissue)), "renewal": .integer(renewal),
        ]
    }

    /// Reads what `secretJSON` wrote.
    public init(secretJSON json: JSON) throws(IdentityError) {
        func bytes(_ name: String) -> [UInt8] { Array((json[name]?.string ?? "").utf8) }
        do throws(TLSError) {
            key = try PrivateKey(pem: bytes("key"))
            chain = bytes("chain").isEmpty ? [] : try Certificate.all(pem: bytes("chain"))
            bundle = bytes("roots").isEmpty ? nil : try TrustBundle(pem: bytes("roots"))
        } catch { throw IdentityError(error) }
        guard chain.first.map({ $0.matches(key) }) ?? true else {
            throw IdentityError(.authority, "the key belongs to another certificate")
        }
        reissue = json["reissue"]?.int ?? 0
        wantedReissue = reissue
        renewal = Int64(json["renewal"]?.int ?? 0)
    }
}
