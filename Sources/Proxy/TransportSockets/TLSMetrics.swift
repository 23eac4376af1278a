internal import TLS
internal import Telemetry

/// The `ssl` counters of a listener or a cluster.
final class TLSMetrics: Sendable {
    /// The cells, by Envoy's names; those of versions, suites and groups carry them in `name`.
    enum Cell: Int, CaseIterable {
        case connection_error, handshake, session_reused, no_certificate
        case fail_verify_no_cert, fail_verify_error, fail_verify_san, fail_verify_cert_hash
        case ocsp_staple_failed, ocsp_staple_omitted, ocsp_staple_responses, ocsp_staple_requests
        case context_secrets_not_ready
        /// Ours: handshakes that were not finished in time.
        case handshake_timeout
        /// Ours: whether a peer's leaf was among those verified before.
        case verified_leaf_hit, verified_leaf_miss
        case versionTLS10, versionTLS11, versionTLS12, versionTLS13
        case curveX25519, curveP256, curveP384, curveP521
        case cipherOther
        case cipherAES128GCM, cipherAES256GCM, cipherCHACHA20
        case cipherECDSAAES128, cipherECDSAAES256, cipherECDSACHACHA20
        case cipherRSAAES128, cipherRSAAES256, cipherRSACHACHA20

        /// What stands behind `ssl.`.
        var name: String {
            switch self {
            case .versionTLS10: "versions.TLSv1"
            case .versionTLS11: "versions.TLSv1.1"
            case .versionTLS12: "versions.TLSv1.2"
            case .versionTLS13: "versions.TLSv1.3"
            case .curveX25519: "curves.X25519"
            case .curveP256: "curves.P-256"
            case .curveP384: "curves.P-384"
            case .curveP521: "curves.P-521"
            case .cipherOther: "ciphers.other"
            case .cipherAES128GCM: "ciphers.TLS_AES_128_GCM_SHA256"
            case .cipherAES256GCM: "ciphers.TLS_AES_256_GCM_SHA384"
            case .cipherCHACHA20: "ciphers.TLS_CHACHA20_POLY1305_SHA256"
            case .cipherECDSAAES128: "ciphers.ECDHE-ECDSA-AES128-GCM-SHA256"
            case .cipherECDSAAES256: "ciphers.ECDHE-ECDSA-AES256-GCM-SHA384"
            case .cipherECDSACHACHA20: "ciphers.ECDHE-ECDSA-CHACHA20-POLY1305"
            case .cipherRSAAES128: "ciphers.ECDHE-RSA-AES128-GCM-SHA256"
            case .cipherRSAAES256: "ciphers.ECDHE-RSA-AES256-GCM-SHA384"
            case .cipherRSACHACHA20: "ciphers.ECDHE-RSA-CHACHA20-POLY1305"
            default: "\(self)"
            }
        }

        /// Whether the counter is there before it is first counted; those of versions, suites and groups are not.
        var isAlwaysThere: Bool { rawValue < Cell.versionTLS10.rawValue }
    }

    private let scope: MetricScope
    /// Those that are always there, by cell; the others are few a handshake and are looked up.
    private let counters: [MetricCounter]

    init(_ scope: MetricScope, isListener: Bool) {
        self.scope = scope
        counters = Cell.allCases.filter(\.isAlwaysThere).map { cell in
            guard cell == .context_secrets_not_ready else { return scope.counter("ssl.\(cell.name)") }
            return scope.counter(
                isListener
                    ? "server_ssl_socket_factory.downstream_context_secrets_not_ready"
                    : "client_ssl_socket_factory.upstream_context_secrets_not_ready")
        }
    }

    func count(_ cell: Cell, row: Int) {
        if cell.rawValue < counters.count {
            counters[cell.rawValue].add(row: row)
        } else {
            scope.counter("ssl.\(cell.name)").add(row: row)
        }
    }

    /// A handshake is complete.
    func finished(_ engine: TLSEngine, row: Int) {
        count(.handshake, row: row)
        if engine.isResumed { count(.session_reused, row: row) }
        if engine.peer == nil { count(.no_certificate, row: row) }
        if let wasRemembered = engine.wasRemembered {
            count(wasRemembered ? .verified_leaf_hit : .verified_leaf_miss, row: row)
        }
        count(Self.cell(version: engine.version), row: row)
        count(Self.cell(cipher: engine.cipher), row: row)
        if let cell = Self.cell(group: engine.group) { count(cell, row: row) }
    }

    /// A handshake failed.
    func failed(_ engine: TLSEngine, row: Int) {
        switch engine.refusal {
        case .noCertificate: count(.fail_verify_no_cert, row: row)
        case .chain: count(.fail_verify_error, row: row)
        case .name: count(.fail_verify_san, row: row)
        case .pin: count(.fail_verify_cert_hash, row: row)
        case nil: if engine.hasFailed { count(.connection_error, row: row) }
        }
    }

    private static func cell(version: String) -> Cell {
        switch version {
        case "TLSv1": .versionTLS10
        case "TLSv1.1": .versionTLS11
        case "TLSv1.2": .versionTLS12
        default: .versionTLS13
        }
    }

    private static func cell(group: String) -> Cell? {
        switch group {
        case "X25519": .curveX25519
        case "P-256": .curveP256
        case "P-384": .curveP384
        case "P-521": .curveP521
        default: nil
        }
    }

    private static func cell(cipher: String) -> Cell {
        switch cipher {
        case "TLS_AES_128_GCM_SHA256": .cipherAES128GCM
        case "TLS_AES_256_GCM_SHA384": .cipherAES256GCM
        case "TLS_CHACHA20_POLY1305_SHA256": .cipherCHACHA20
        case "ECDHE-ECDSA-AES128-GCM-SHA256": .cipherECDSAAES128
        case "ECDHE-ECDSA-AES256-GCM-SHA384": .cipherECDSAAES256
        case "ECDHE-ECDSA-CHACHA20-POLY1305": .cipherECDSACHACHA20
        case "ECDHE-RSA-AES128-GCM-SHA256": .cipherRSAAES128
        case "ECDHE-RSA-AES256-GCM-SHA384": .cipherRSAAES256
        case "ECDHE-RSA-CHACHA20-POLY1305": .cipherRSACHACHA20
        default: .cipherOther
        }
    }
}
