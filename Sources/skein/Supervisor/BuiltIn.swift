internal import IO
internal import KubernetesAPI
internal import Serialization

/// Objects that every Skein has: the ingress gateway.
enum BuiltIn {
    static func manifests() throws(CommandError) -> [Manifest] {
        do throws(YAMLError) {
            return try YAML.parse(text, file: "built-in").compactMap { document in
                let object = KubernetesObject(json: document.json)
                guard let kind = ResourceKinds.standard.kind(apiVersion: object.apiVersion, kind: object.kind) else {
                    return nil
                }
                return Manifest(object: object, kind: kind, place: "built-in:\(document.firstLine)")
            }
        } catch {
            throw CommandError("\(error)")
        }
    }

    /// Its labels are the ones that Istio's Gateway objects select by.
    private static let text = """
        apiVersion: v1
        kind: Service
        metadata:
          name: istio-ingressgateway
          namespace: skein-system
          labels: {app: istio-ingressgateway, istio: ingressgateway}
        spec:
          type: LoadBalancer
          selector: {app: istio-ingressgateway, istio: ingressgateway}
          ports:
            - {name: http, port: 80, targetPort: 80}
            - {name: https, port: 443, targetPort: 443}
        ---
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: istio-ingressgateway
          namespace: skein-system
          labels: {app: istio-ingressgateway, istio: ingressgateway}
        spec:
          replicas: 1
          selector:
            matchLabels: {app: istio-ingressgateway, istio: ingressgateway}
          template:
            metadata:
              labels: {app: istio-ingressgateway, istio: ingressgateway}
              annotations:
                skein.dev/gateway: "true"
                sidecar.istio.io/inject: "false"
            spec:
              terminationGracePeriodSeconds: 15
              containers:
                - name: istio-proxy
                  image: skein/proxy
                  ports:
                    - {name: http, containerPort: 80}
                    - {name: https, containerPort: 443}
                  readinessProbe:
                    httpGet: {path: /healthz/ready, port: 15021}
                    periodSeconds: 2
        """
}
