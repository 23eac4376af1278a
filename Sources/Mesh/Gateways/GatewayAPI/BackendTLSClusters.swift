import EnvoyAPI
import KubernetesAPI
import Serialization

/// BackendTLSPolicies on clusters of gateways.
///
/// A policy reads as the `tls` of a DestinationRule; what a DestinationRule writes itself beats it, field by field (D-6).
struct BackendTLSClusters {
    let policy: BackendTLS.Policy
    /// The Secret with the certificate that the gateway shows.
    var certificate: NamespacedName?

    /// The settings with the policy in them.
    func settings(_ written: ClusterSettings) -> ClusterSettings {
        var names = policy.names.map(\.value)
        if names.isEmpty { names = [policy.hostname] }
        var merged: [String: JSON] = [
            "mode": "SIMPLE", "sni": .string(policy.hostname),
            "subjectAltNames": .array(names.map { .string($0) }),
        ]
        for (name, value) in written.tls?.json.object ?? [:] { merged[name] = value }
        var settings = written
        settings.tls = DestinationRule.ClientTLS(json: .object(merged))
        return settings
    }

    /// Whether the authorities are the policy's.
    private func trusts(_ written: ClusterSettings) -> Bool {
        guard case .authorities = policy.trust else { return false }
        guard let tls = written.tls else { return true }
        return tls.caCertificates.isEmpty && tls.credentialName.isEmpty && !tls.insecureSkipVerify
    }

    /// Has the cluster verify by the policy's authorities; false when it cannot, and then it must not be used.
    func complete(_ cluster: inout Cluster, written: ClusterSettings) -> Bool {
        guard let socket = cluster.transportSocket else { return written.tls?.json["mode"] == "DISABLE" }
        guard let done = complete(socket, trusts: trusts(written)) else { return false }
        cluster.transportSocket = done
        return true
    }

    private func complete(_ socket: TransportSocket, trusts: Bool) -> TransportSocket? {
        guard case .typedConfig(let any) = socket.configType else { return nil }
        var socket = socket
        if var header = try? any.unpack(as: ProxyProtocolUpstreamTransport.self) {
            guard let inner = header.transportSocket.flatMap({ complete($0, trusts: trusts) }) else { return nil }
            header.transportSocket = inner
            socket.configType = .typedConfig(AnyMessage(packing: header))
            return socket
        }
        guard var context = try? any.unpack(as: UpstreamTlsContext.self), var common = context.commonTlsContext
        else { return nil }
        if trusts {
            guard case .validationContext(var check) = common.validationContextType else { return nil }
            check.systemRootCerts = nil
            var combined = CommonTlsContext.CombinedCertificateValidationContext()
            combined.defaultValidationContext = check
            combined.validationContextSdsSecretConfig = DownstreamTLS.reference(policy.resourceName)
            common.validationContextType = .combinedValidationContext(combined)
        }
        if let certificate, common.tlsCertificates.isEmpty, common.tlsCertificateSdsSecretConfigs.isEmpty {
            common.tlsCertificateSdsSecretConfigs = [
                DownstreamTLS.reference(GatewaySecrets.certificateName(certificate))
            ]
        }
        context.commonTlsContext = common
        socket.configType = .typedConfig(AnyMessage(packing: context))
        return socket
    }
}
