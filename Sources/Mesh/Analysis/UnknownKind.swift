/// What is said of an object whose kind is not known: in Kubernetes' words, and for Istio's kinds with what to do instead.
public enum UnknownKind {
    /// Istio's kinds that are not there, and why.
    private static let reasons: [String: String] = [
        "extensions.istio.io/WasmPlugin":
            "WebAssembly is not run; an EnvoyFilter with envoy.filters.http.lua or ext_proc does such work",
        "extensions.istio.io/TrafficExtension":
            "WebAssembly is not run; an EnvoyFilter with envoy.filters.http.lua or ext_proc does such work",
        "install.istio.io/IstioOperator":
            "Skein is not installed by it; its meshConfig is the ConfigMap istio in istio-system",
        "operator.istio.io/IstioOperator":
            "Skein is not installed by it; its meshConfig is the ConfigMap istio in istio-system",
    ]

    /// `no matches for kind "WasmPlugin" in version "extensions.istio.io/v1alpha1": WebAssembly is not run; …`.
    public static func message(apiVersion: String, kind: String) -> String {
        let group = apiVersion.contains("/") ? apiVersion.prefix { $0 != "/" } : ""
        let reason = reasons["\(group)/\(kind)"].map { ": \($0)" } ?? ""
        return "no matches for kind \"\(kind)\" in version \"\(apiVersion)\"\(reason)"
    }
}
