import Serialization

extension Validator {
    /// The rules of single kinds.
    mutating func kind(_ object: KubernetesObject, _ kind: ResourceKind) {
        switch kind {
        case .pod: podSpec(PodSpec(json: object.spec), "spec")
        case .deployment, .replicaSet, .replicationController: workload(object)
        case .statefulSet, .daemonSet: workload(object)
        case .job: job(object)
        case .cronJob: cronJob(object)
        case .podDisruptionBudget: disruptionBudget(object.spec)
        case .priorityClass: priorityClass(object)
        case .resourceQuota: resourceQuota(object.spec)
        case .limitRange: limitRange(object.spec)
        case .horizontalPodAutoscaler: autoscaler(object.spec)
        case .service: service(ServiceSpec(json: object.spec))
        case .ingress: ingress(IngressSpec(json: object.spec))
        case .networkPolicy: networkPolicy(object.spec)
        case .adminNetworkPolicy: adminPolicy(object.spec)
        case .baselineAdminNetworkPolicy:
            if object.name != "default" {
                add(.invalid("metadata.name", text: object.name, "the only name is 'default': there is one baseline"))
            }
            adminPolicy(object.spec)
        case .persistentVolumeClaim: claim(object.spec, "spec")
        case .persistentVolume: volume(object.spec)
        case .storageClass: storageClass(object.json)
        case .configMap: configMap(object.json)
        case .secret: secret(object)
        case .lease: lease(object.spec)
        case .endpointSlice: endpointSlice(object.json)
        case .virtualService: virtualService(object.spec)
        case .role, .clusterRole, .roleBinding, .clusterRoleBinding: access(object)
        case .peerAuthentication, .requestAuthentication, .authorizationPolicy: security(object)
        default: break
        }
        if kind.group.hasSuffix(".istio.io") { istio(object) }
        if kind.group == "gateway.networking.k8s.io" { gatewayAPI(object) }
    }

    private mutating func workload(_ object: KubernetesObject) {
        let spec = DeploymentSpec(json: object.spec)
        if spec.replicas < 0 {
            add(.invalid("spec.replicas", String(spec.replicas), "must be greater than or equal to 0"))
        }
        let isReplicationController = object.kind == "ReplicationController"
        if isReplicationController {
            labels("spec.selector", object.podSelector.matchLabels)
            if object.spec["template"] == nil { add(.required("spec.template")) }
            if object.podSelector.matchLabels.isEmpty { add(.required("spec.selector")) }
        } else {
            labelSelector(object.spec["selector"], "spec.selector")
        }
        let selector = object.podSelector
        if selector.matcher.requirements.isEmpty {
            if object.spec["selector"] != nil, !isReplicationController {
                add(.invalid("spec.selector", "{}", "empty selector is invalid for \(object.kind.lowercased())"))
            }
        } else if !selector.matcher.matches(spec.template.metadata.labels) {
            add(
                .invalid(
                    "spec.template.metadata.labels", labelText(spec.template.metadata.labels),
                    "`selector` does not match template `labels`"))
        }
        labels("spec.template.metadata.labels", spec.template.metadata.labels)
        guard object.spec["template"] != nil else { return }
        if spec.template.json["spec"]?["containers"] == nil && object.spec["template"]?["spec"] == nil {
            add(.required("spec.template.spec.containers"))
        }
        podSpec(spec.template.spec, "spec.template.spec", others: Self.claimVolumes(object.spec))
        if spec.template.spec.restartPolicy != "Always" {
            add(.notSupported("spec.template.spec.restartPolicy", spec.template.spec.restartPolicy, ["Always"]))
        }
        if object.kind == "Deployment", spec.strategy.type == "Recreate", spec.strategy.json["rollingUpdate"] != nil {
            add(.forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"))
        }
        if object.kind == "Deployment" {
            rollout(object.spec["strategy"]?["rollingUpdate"], "spec.strategy.rollingUpdate")
        }
        counts(object.spec, ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"], "spec")
        if spec.json["progressDeadlineSeconds"] != nil, spec.progressDeadlineSeconds <= spec.minReadySeconds {
            add(
                .invalid(
                    "spec.progressDeadlineSeconds", String(spec.progressDeadlineSeconds),
                    "must be greater than minReadySeconds"))
        }
        if object.kind == "StatefulSet" { statefulSet(object.spec) }
        if object.kind == "DaemonSet" {
            rollout(object.spec["updateStrategy"]?["rollingUpdate"], "spec.updateStrategy.rollingUpdate")
        }
    }

    func labelText(_ labels: [String: String]) -> String {
        "{" + labels.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\"\($0.value)\"" }.joined(separator: ",") + "}"
    }

    /// A pod's rules; containers may mount its volumes and `others`.
    mutating func podSpec(_ spec: PodSpec, _ path: String, others: Set<String> = []) {
        var names: Set<String> = []
        var volumes: Set<String> = []
        for (index, volume) in spec.volumes.enumerated() {
            check("\(path).volumes[\(index)].name", volume.name, Names.dns1123LabelProblem)
            if !volumes.insert(volume.name).inserted {
                add(.duplicate("\(path).volumes[\(index)].name", "\"\(volume.name)\""))
            }
            source(volume.json, "\(path).volumes[\(index)]")
            if let claim = volume.json["persistentVolumeClaim"]?["claimName"]?.string, !claim.isEmpty {
                check(
                    "\(path).volumes[\(index)].persistentVolumeClaim.claimName", claim, Names.dns1123SubdomainProblem)
            }
        }
        volumes.formUnion(others)
        for (list, containers) in [("containers", spec.containers), ("initContainers", spec.initContainers)] {
            for (index, container) in containers.enumerated() {
                let here = "\(path).\(list)[\(index)]"
                if !container.name.isEmpty {
                    check(here + ".name", container.name, Names.dns1123LabelProblem)
                    if !names.insert(container.name).inserted {
                        add(.duplicate(here + ".name", "\"\(container.name)\""))
                    }
                }
                if container.image.isEmpty { add(.required(here + ".image")) }
                self.container(container, here, volumes)
                behaviour(container, here, isInit: list == "initContainers")
            }
        }
        placement(spec, path)
        hostPorts(spec, path)
        if spec.terminationGracePeriodSeconds < 0 {
            add(
                .invalid(
                    "\(path).terminationGracePeriodSeconds", String(spec.terminationGracePeriodSeconds),
                    "must be greater than or equal to 0"))
        }
    }

    mutating func container(_ container: Container, _ path: String, _ volumes: Set<String>) {
        var ports: Set<String> = []
        for (index, port) in container.ports.enumerated() {
            let here = "\(path).ports[\(index)]"
            if port.containerPort == 0 {
                add(.required(here + ".containerPort"))
            } else if let problem = Names.portProblem(port.containerPort) {
                add(.invalid(here + ".containerPort", String(port.containerPort), problem))
            }
            guard !port.name.isEmpty else { continue }
            check(here + ".name", port.name, Names.portNameProblem)
            if !ports.insert(port.name).inserted { add(.duplicate(here + ".name", "\"\(port.name)\"")) }
        }
        for (index, mount) in container.volumeMounts.enumerated() where !volumes.contains(mount.name) {
            add(.notFound("\(path).volumeMounts[\(index)].name", mount.name))
        }
        mounts(container, path)
        for (index, variable) in container.env.enumerated() {
            if !variable.name.isEmpty {
                check("\(path).env[\(index)].name", variable.name, Names.environmentNameProblem)
            }
            origin(variable.json, "\(path).env[\(index)].valueFrom")
        }
        for (name, probe) in [
            ("livenessProbe", container.livenessProbe), ("readinessProbe", container.readinessProbe),
            ("startupProbe", container.startupProbe),
        ] {
            guard let probe else { continue }
            handler(probe.json, ["exec", "httpGet", "tcpSocket", "grpc"], "\(path).\(name)")
            timing(probe.json, "\(path).\(name)", isReadiness: name == "readinessProbe")
            if name != "readinessProbe", probe.successThreshold != 1 {
                add(.invalid("\(path).\(name).successThreshold", String(probe.successThreshold), "must be 1"))
            }
        }
    }

    private mutating func service(_ spec: ServiceSpec) {
        if spec.type == "ExternalName" {
            if spec.externalName.isEmpty { add(.required("spec.externalName")) }
        } else if spec.ports.isEmpty, spec.clusterIP != "None" {
            add(.required("spec.ports"))
        }
        labels("spec.selector", spec.selector)
        exposure(spec)
        var names: Set<String> = []
        var numbers: Set<String> = []
        for (index, port) in spec.ports.enumerated() {
            let here = "spec.ports[\(index)]"
            if port.name.isEmpty {
                if spec.ports.count > 1 { add(.required(here + ".name")) }
            } else {
                check(here + ".name", port.name, Names.dns1123LabelProblem)
                if !names.insert(port.name).inserted { add(.duplicate(here + ".name", "\"\(port.name)\"")) }
            }
            if port.json["port"] != nil, let problem = Names.portProblem(port.port) {
                add(.invalid(here + ".port", String(port.port), problem))
            }
            if !numbers.insert("\(port.protocol)/\(port.port)").inserted {
                add(.duplicate(here, "{\"port\":\(port.port),\"protocol\":\"\(port.protocol)\"}"))
            }
            switch port.targetPort {
            case .int(let number):
                if let problem = Names.portProblem(number) {
                    add(.invalid(here + ".targetPort", String(number), problem))
                }
            case .string(let text): check(here + ".targetPort", text, Names.portNameProblem)
            case nil: break
            }
        }
    }

    private mutating func ingress(_ spec: IngressSpec) {
        if spec.rules.isEmpty, spec.defaultBackend == nil {
            add(.invalid("spec", "{}", "either `defaultBackend` or `rules` must be specified"))
        }
        for (index, rule) in spec.rules.enumerated() {
            if !rule.host.isEmpty {
                ingressHost(rule.host, "spec.rules[\(index)].host")
            }
            for (number, path) in rule.http.paths.enumerated() {
                let here = "spec.rules[\(index)].http.paths[\(number)]"
                if path.pathType != "ImplementationSpecific" || !path.path.isEmpty, !path.path.hasPrefix("/") {
                    add(.invalid(here + ".path", text: path.path, "must be an absolute path"))
                }
                if let service = path.backend.service { backend(service, here + ".backend.service") }
            }
        }
        if let service = spec.defaultBackend?.service { backend(service, "spec.defaultBackend.service") }
    }

    private mutating func ingressHost(_ host: String, _ path: String) {
        if AddressRange.isAddress(host) {
            add(.invalid(path, text: host, "must be a DNS name, not an IP address"))
        } else if host.contains("*") {
            check(path, host, Names.wildcardProblem)
        } else {
            check(path, host, Names.dns1123SubdomainProblem)
        }
    }

    private mutating func backend(_ service: IngressServiceBackend, _ path: String) {
        if !service.name.isEmpty { check(path + ".name", service.name, Names.dns1035LabelProblem) }
        switch (service.port.number, service.port.name.isEmpty) {
        case (nil, true): add(.required(path, "port name or number is required"))
        case (.some, false): add(.invalid(path, text: "", "cannot set both port name & port number"))
        case (.some(let number), true):
            if let problem = Names.portProblem(number) { add(.invalid(path + ".port.number", String(number), problem)) }
        case (nil, false): check(path + ".port.name", service.port.name, Names.portNameProblem)
        }
    }

    /// H-7, H-8: weights are relative and none is negative; several destinations that are all 0 route to nobody.
    private mutating func virtualService(_ spec: JSON) {
        for list in ["http", "tls", "tcp"] {
            for (index, route) in (spec[list]?.array ?? []).enumerated() {
                let destinations = route["route"]?.array ?? []
                let weights = destinations.map { $0["weight"]?.int ?? 0 }
                for (number, weight) in weights.enumerated() where weight < 0 {
                    add(
                        .invalid(
                            "spec.\(list)[\(index)].route[\(number)].weight", String(weight), "must not be negative"))
                }
                if destinations.count > 1, weights.allSatisfy({ $0 == 0 }) {
                    add(
                        .invalid(
                            "spec.\(list)[\(index)].route", "0",
                            "the weights of all \(destinations.count) destinations are 0: no destination would receive traffic"
                        ))
                }
            }
        }
    }

    /// What may not change in the life of an object.
    mutating func immutable(_ old: KubernetesObject, _ new: KubernetesObject, _ kind: ResourceKind) {
        func keep(_ path: [String], _ shown: String) -> FieldProblem? {
            let before = path.reduce(old.json as JSON?) { $0?[$1] }
            let after = path.reduce(new.json as JSON?) { $0?[$1] }
            return before == after
                ? nil
                : .invalid(
                    shown, after?.string.map { "\"\($0)\"" } ?? after.map(Validator.short) ?? "null",
                    "field is immutable")
        }
        switch kind {
        case .deployment, .replicaSet, .daemonSet:
            if let problem = keep(["spec", "selector"], "spec.selector") { add(problem) }
        case .statefulSet: immutableStatefulSet(old.spec, new.spec)
        case .job: immutableJob(old.spec, new.spec)
        case .priorityClass:
            for name in ["value", "preemptionPolicy"] where old.json[name] != new.json[name] {
                add(.forbidden(name, "may not be changed in an update."))
            }
        case .controllerRevision:
            if let problem = keep(["data"], "data") { add(problem) }
        case .service:
            let wasExternal = ServiceSpec(json: old.spec).type == "ExternalName"
            if !wasExternal, ServiceSpec(json: new.spec).type != "ExternalName",
                !ServiceSpec(json: old.spec).clusterIP.isEmpty,
                let problem = keep(["spec", "clusterIP"], "spec.clusterIP")
            {
                add(problem)
            }
        case .secret, .configMap:
            if kind == .secret, let problem = keep(["type"], "type") { add(problem) }
            if old.json["immutable"]?.bool == true, old.json["data"] != new.json["data"] {
                add(.forbidden("data", "field is immutable when `immutable` is set"))
            }
        case .pod: podUpdate(old, new)
        case .persistentVolumeClaim: immutableClaim(old.spec, new.spec)
        case .persistentVolume: immutableVolume(old.spec, new.spec)
        case .storageClass: immutableClass(old.json, new.json)
        case .roleBinding, .clusterRoleBinding:
            if old.json["roleRef"] != new.json["roleRef"] {
                add(.invalid("roleRef", new.json["roleRef"].map(Validator.short) ?? "null", "cannot change roleRef"))
            }
        default: break
        }
    }

    /// Of a pod's spec only the images, the deadline, tolerations and a once-set node may change.
    private mutating func podUpdate(_ old: KubernetesObject, _ new: KubernetesObject) {
        func fixed(_ spec: JSON) -> JSON {
            var spec = spec
            for list in ["containers", "initContainers"] {
                guard let containers = spec[list]?.array else { continue }
                spec[list] = .array(
                    containers.map { container in
                        var container = container
                        container["image"] = nil
                        return container
                    })
            }
            for name in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] { spec[name] = nil }
            // Pods of earlier versions do not say it.
            if spec["enableServiceLinks"] == nil { spec["enableServiceLinks"] = true }
            if PodSpec(json: old.spec).nodeName.isEmpty { spec["nodeName"] = nil }
            return spec
        }
        if fixed(old.spec) != fixed(new.spec) {
            add(
                .forbidden(
                    "spec",
                    "pod updates may not change fields other than `spec.containers[*].image`,"
                        + "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
                        + "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
                ))
        }
    }

    /// A value in a message: Kubernetes prints Go structs here; compact text is clearer.
    static func short(_ value: JSON) -> String {
        switch value {
        case .object(let members):
            "{" + members.keys.sorted().map { "\($0): \(members[$0].map(short) ?? "")" }.joined(separator: ", ") + "}"
        case .array(let elements): "[" + elements.map(short).joined(separator: ", ") + "]"
        case .string(let text): "\"\(text)\""
        case .integer(let number): String(number)
        case .number(let number): "\(number)"
        case .bool(let flag): "\(flag)"
        case .null: "null"
        }
    }
}

extension FieldProblem {
    /// The name refers to something that the object does not have.
    static func notFound(_ path: String, _ name: String) -> FieldProblem {
        FieldProblem.make(path, .notFound, "Not found: \"\(name)\"")
    }
}
