import Serialization

/// Kubeconfig files.
public enum Kubeconfig {
    /// A file with one cluster, user and context, all named `default`.
    ///
    /// All arguments but `server` are PEM texts.
    public static func yaml(server: String, ca: [UInt8], certificate: [UInt8], key: [UInt8]) -> String {
        """
        apiVersion: v1
        kind: Config
        clusters:
        - name: default
          cluster:
            server: \(server)
            certificate-authority-data: \(Base64.encode(ca))
        contexts:
        - name: default
          context:
            cluster: default
            user: default
        current-context: default
        users:
        - name: default
          user:
            client-certificate-data: \(Base64.encode(certificate))
            client-key-data: \(Base64.encode(key))

        """
    }
}
