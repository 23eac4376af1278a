// What is wrong with containers and pods: a fragment, and what is said of it.
extension BadObjectTests {
    static let badContainers: [(String, String)] = [
        (#"{"name": "A_"}"#, #"name: Invalid value: "A_": a lowercase RFC 1123 label must"#),
        (#"{"name": ""}"#, #"name: Required value"#),
        (#"{"image": null}"#, #"image: Required value"#),
        (#"{"image": " x"}"#, #"image: Invalid value: " x": must not have leading or trailing whitespace"#),
        (
            #"{"imagePullPolicy": "x"}"#,
            #"imagePullPolicy: Unsupported value: "x": supported values: "Always", "IfNotPresent", "Never""#
        ),
        (#"{"ports": [{"containerPort": 0}]}"#, #"ports[0].containerPort: Required value"#),
        (
            #"{"ports": [{"containerPort": 65536}]}"#,
            #"ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive"#
        ),
        (
            #"{"ports": [{"containerPort": 1, "name": "1"}]}"#,
            #"ports[0].name: Invalid value: "1": must contain at least one letter (a-z)"#
        ),
        (
            #"{"ports": [{"containerPort": 1, "name": "aaaaaaaaaaaaaaaa"}]}"#,
            #"ports[0].name: Invalid value: "aaaaaaaaaaaaaaaa": must be no more than 15 characters"#
        ),
        (
            #"{"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}"#,
            #"ports[1].name: Duplicate value: "a""#
        ),
        (
            #"{"ports": [{"containerPort": 1, "protocol": "x"}]}"#,
            #"ports[0].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP""#
        ),
        (
            #"{"env": [{"name": "a=b", "value": "x"}]}"#,
            #"env[0].name: Invalid value: "a=b": a valid environment variable name must"#
        ),
        (#"{"env": [{"name": "", "value": "x"}]}"#, #"env[0].name: Required value"#),
        (
            #"{"env": [{"name": "a", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}"#,
            #"env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty"#
        ),
        (
            #"{"env": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.x"}}}]}"#,
            #"env[0].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.x": error converting fieldPath: field label not supported: metadata.x"#
        ),
        (
            #"{"env": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}, "secretKeyRef": {"name": "a", "key": "b"}}}]}"#,
            #"env[0].valueFrom: Invalid value: "": may not have more than one field specified at a time"#
        ),
        (
            #"{"env": [{"name": "a", "valueFrom": {}}]}"#,
            #"env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"#
        ),
        (
            #"{"env": [{"name": "a", "valueFrom": {"secretKeyRef": {"name": "a"}}}]}"#,
            #"env[0].valueFrom.secretKeyRef.key: Required value"#
        ),
        (#"{"volumeMounts": [{"name": "v", "mountPath": "/v"}]}"#, #"volumeMounts[0].name: Not found: "v""#),
        (
            #"{"resources": {"limits": {"cpu": "-1"}}}"#,
            #"resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0"#
        ),
        (
            #"{"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}"#,
            #"resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1"#
        ),
        (
            #"{"resources": {"limits": {"x": "1"}}}"#,
            #"resources.limits[x]: Invalid value: "x": must be a standard resource type or fully qualified"#
        ),
        (#"{"livenessProbe": {}}"#, #"livenessProbe: Required value: must specify a handler type"#),
        (
            #"{"livenessProbe": {"tcpSocket": {"port": 1}, "exec": {"command": ["a"]}}}"#,
            #"livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"#
        ),
        (#"{"livenessProbe": {"exec": {"command": []}}}"#, #"livenessProbe.exec.command: Required value"#),
        (
            #"{"livenessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": -1}}"#,
            #"livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"#
        ),
        (
            #"{"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}}"#,
            #"livenessProbe.successThreshold: Invalid value: 2: must be 1"#
        ),
        (
            #"{"livenessProbe": {"httpGet": {"port": 0}}}"#,
            #"livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"#
        ),
        (
            #"{"livenessProbe": {"httpGet": {"port": 1, "scheme": "x"}}}"#,
            #"livenessProbe.httpGet.scheme: Unsupported value: "x": supported values: "HTTP", "HTTPS""#
        ),
        (#"{"lifecycle": {"preStop": {}}}"#, #"lifecycle.preStop: Required value: must specify a handler type"#),
        (
            #"{"securityContext": {"runAsUser": -1}}"#,
            #"securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"#
        ),
        (
            #"{"terminationMessagePath": "x", "terminationMessagePolicy": "y"}"#,
            #"terminationMessagePolicy: Unsupported value: "y": supported values: "FallbackToLogsOnError", "File""#
        ),
    ]

    static let badPods: [(String, String)] = [
        (#"{"containers": []}"#, #"containers: Required value"#),
        (
            #"{"containers": [{"name": "c", "image": "x"}, {"name": "c", "image": "x"}]}"#,
            #"containers[1].name: Duplicate value: "c""#
        ),
        (#"{"initContainers": [{"name": "c", "image": "x"}]}"#, #"initContainers[0].name: Duplicate value: "c""#),
        (
            #"{"restartPolicy": "x"}"#,
            #"restartPolicy: Unsupported value: "x": supported values: "Always", "OnFailure", "Never""#
        ),
        (
            #"{"dnsPolicy": "x"}"#,
            #"dnsPolicy: Unsupported value: "x": supported values: "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None""#
        ),
        (#"{"dnsPolicy": "None"}"#, #"dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"#),
        (
            #"{"dnsPolicy": "None", "dnsConfig": {}}"#,
            #"dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"#
        ),
        (
            #"{"containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 1, "hostPort": 9}]}, {"name": "e", "image": "x", "ports": [{"containerPort": 2, "hostPort": 9}]}]}"#,
            #"containers[1].ports[0].hostPort: Duplicate value: "TCP//9""#
        ),
        (
            #"{"containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 80, "hostPort": 81}]}], "hostNetwork": true}"#,
            #"containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true"#
        ),
        (
            #"{"containers": [{"name": "c", "image": "x", "volumeMounts": [{"name": "v", "mountPath": ""}]}], "volumes": [{"name": "v", "emptyDir": {}}]}"#,
            #"containers[0].volumeMounts[0].mountPath: Required value"#
        ),
        (
            #"{"containers": [{"name": "c", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}]}], "volumes": [{"name": "v", "emptyDir": {}}]}"#,
            #"containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique"#
        ),
        (
            #"{"containers": [{"name": "c", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/a", "subPath": "../b"}]}], "volumes": [{"name": "v", "emptyDir": {}}]}"#,
            #"containers[0].volumeMounts[0].subPath: Invalid value: "../b": must not contain '..'"#
        ),
        (
            #"{"containers": [{"name": "c", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/a", "subPath": "/b"}]}], "volumes": [{"name": "v", "emptyDir": {}}]}"#,
            #"containers[0].volumeMounts[0].subPath: Invalid value: "/b": must be a relative path"#
        ),
        (
            #"{"volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]}"#,
            #"volumes[1].name: Duplicate value: "v""#
        ),
        (#"{"volumes": [{"name": "v", "secret": {}}]}"#, #"volumes[0].secret.secretName: Required value"#),
        (
            #"{"volumes": [{"name": "v", "secret": {"secretName": "a"}, "emptyDir": {}}]}"#,
            #"volumes[0].secret: Forbidden: may not specify more than 1 volume type"#
        ),
        (
            #"{"volumes": [{"name": "A", "emptyDir": {}}]}"#,
            #"volumes[0].name: Invalid value: "A": a lowercase RFC 1123 label must"#
        ),
        (#"{"volumes": [{"name": "v", "hostPath": {"path": ""}}]}"#, #"volumes[0].hostPath.path: Required value"#),
        (
            #"{"volumes": [{"name": "v", "hostPath": {"path": "/a", "type": "x"}}]}"#,
            #"volumes[0].hostPath.type: Unsupported value: "x": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket""#
        ),
        (
            #"{"volumes": [{"name": "v", "configMap": {"name": "a", "defaultMode": 1000}}]}"#,
            #"volumes[0].configMap.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive"#
        ),
        (
            #"{"volumes": [{"name": "v", "configMap": {"name": "a", "items": [{"key": "", "path": "b"}]}}]}"#,
            #"volumes[0].configMap.items[0].key: Required value"#
        ),
        (
            #"{"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": ""}}]}"#,
            #"volumes[0].persistentVolumeClaim.claimName: Required value"#
        ),
        (
            #"{"initContainers": [{"name": "i", "image": "x", "livenessProbe": {"tcpSocket": {"port": 1}}}]}"#,
            #"initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"#
        ),
        (
            #"{"initContainers": [{"name": "i", "image": "x", "restartPolicy": "Never"}]}"#,
            #"initContainers[0].restartPolicy: Unsupported value: "Never": supported values: "Always""#
        ),
        (
            #"{"terminationGracePeriodSeconds": -1}"#,
            #"terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0"#
        ),
        (
            #"{"activeDeadlineSeconds": 0}"#,
            #"activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"#
        ),
        (#"{"nodeName": "A_"}"#, #"nodeName: Invalid value: "A_": a lowercase RFC 1123 subdomain must"#),
        (#"{"nodeSelector": {"a": "b c"}}"#, #"nodeSelector: Invalid value: "b c": a valid label must"#),
        (#"{"hostname": "A"}"#, #"hostname: Invalid value: "A": a lowercase RFC 1123 label must"#),
        (
            #"{"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}"#,
            #"tolerations[0].operator: Invalid value: "b": value must be empty when `operator` is 'Exists'"#
        ),
        (
            #"{"tolerations": [{"key": "a", "effect": "x"}]}"#,
            #"tolerations[0].effect: Unsupported value: "x": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute""#
        ),
        (
            #"{"tolerations": [{"key": "a", "operator": "x"}]}"#,
            #"tolerations[0].operator: Unsupported value: "x": supported values: "Equal", "Exists""#
        ),
        (
            #"{"hostAliases": [{"ip": "x"}]}"#,
            #"hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#
        ),
        (
            #"{"serviceAccountName": "A_"}"#,
            #"serviceAccountName: Invalid value: "A_": a lowercase RFC 1123 subdomain must"#
        ),
        (
            #"{"ephemeralContainers": [{"name": "e", "image": "x"}]}"#,
            #"ephemeralContainers: Forbidden: cannot be set on create"#
        ),
        (
            #"{"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]}"#,
            #"topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"#
        ),
        (
            #"{"preemptionPolicy": "x"}"#,
            #"preemptionPolicy: Unsupported value: "x": supported values: "Never", "PreemptLowerPriority""#
        ),
    ]
}
