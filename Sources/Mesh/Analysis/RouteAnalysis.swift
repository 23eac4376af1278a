import KubernetesAPI
import Serialization

/// What one HTTP route of a VirtualService says that cannot mean anything, or does not take effect.
struct RouteAnalysis {
    let rules: RuleAnalysis
    let index: Int
    let route: VirtualService.HTTPRoute

    func diagnostics() -> [Diagnostic] {
        var found = action() + conditions() + headers() + rewrite() + fault() + retries() + mirrors() + cors() + reach()
        // The compiler's words only where nothing better is known.
        if let problem = rules.rule.setAside[index], !found.contains(where: { $0.severity == .error }) {
            found.append(finding(.routeDoesNotCompile, "", "no proxy can use the route: \(problem)"))
        }
        return found
    }

    private var field: String { "spec.http[\(index)]" }

    private func finding(_ code: DiagnosticCode, _ member: String, _ message: String) -> Diagnostic {
        rules.finding(code, field + member, message)
    }

    // MARK: What is done

    private func action() -> [Diagnostic] {
        var found = rules.destinations("\(field).route", route.route)
        let actions = [
            route.route.isEmpty ? nil : "route", route.redirect.map { _ in "redirect" },
            route.directResponse.map { _ in "directResponse" }, route.delegate.map { _ in "delegate" },
        ].compactMap { $0 }
        if actions.isEmpty {
            found.append(finding(.routeAction, "", "one of route, redirect, directResponse and delegate is required"))
        } else if actions.count > 1 {
            found.append(finding(.routeAction, "", "\(actions.joined(separator: " and ")) exclude each other"))
        }
        if route.delegate != nil, rules.rule.hosts.isEmpty {
            found.append(finding(.invalidDelegation, ".delegate", "a delegate cannot delegate (H-18)"))
        }
        if let name = route.delegate?.name, name.isEmpty {
            found.append(finding(.invalidDelegation, ".delegate.name", "required"))
        }
        if let redirect = route.redirect { found += self.redirect(redirect) }
        if let direct = route.directResponse {
            if !(200...599).contains(direct.status) {
                found.append(
                    finding(
                        .invalidDirectResponse, ".directResponse.status",
                        "\(direct.status) is no status between 200 and 599"))
            }
            if direct.bodyString != nil && direct.bodyBase64 != nil {
                found.append(
                    finding(.invalidDirectResponse, ".directResponse.body", "string and bytes exclude each other"))
            }
            let encoded = direct.bodyBase64.map { $0.utf8.filter { $0 != 0x3D }.count * 3 / 4 } ?? 0
            if max(direct.bodyString?.utf8.count ?? 0, encoded) > Actions.bodyBytesMax {
                found.append(
                    finding(
                        .invalidDirectResponse, ".directResponse.body", "is longer than \(Actions.bodyBytesMax) bytes")
                )
            }
            if direct.json["headers"] != nil {
                found.append(
                    finding(.ruleFieldWithoutEffect, ".directResponse.headers", "has no effect: use headers.response"))
            }
        }
        if let timeout = route.timeout, timeout > .zero, timeout < .milliseconds(1) {
            found.append(finding(.invalidRetries, ".timeout", "is shorter than 1 ms"))
        }
        return found
    }

    private func redirect(_ redirect: VirtualService.HTTPRedirect) -> [Diagnostic] {
        var found: [Diagnostic] = []
        // 0 is what Istio's messages say when nothing is written.
        if let code = redirect.redirectCode, ![0, 301, 302, 303, 307, 308].contains(code) {
            found.append(
                finding(.invalidRedirect, ".redirect.redirectCode", "\(code) is none of 301, 302, 303, 307, 308 (H-15)")
            )
        }
        if !redirect.prefixRewrite.isEmpty, !redirect.uri.isEmpty {
            found.append(finding(.invalidRedirect, ".redirect", "uri and prefixRewrite exclude each other"))
        }
        if let port = redirect.port {
            if !(1...65535).contains(port) {
                found.append(finding(.invalidRedirect, ".redirect.port", "\(port) is no port"))
            }
            if !redirect.derivePort.isEmpty {
                found.append(finding(.invalidRedirect, ".redirect", "port and derivePort exclude each other"))
            }
        }
        return found
    }

    // MARK: Conditions

    private func conditions() -> [Diagnostic] {
        var found: [Diagnostic] = []
        for (position, match) in route.match.enumerated() {
            let place = ".match[\(position)]"
            for name in ["uri", "scheme", "method", "authority"] {
                if let written = match.json[name] { found += strings("\(place).\(name)", written) }
            }
            for name in ["headers", "withoutHeaders", "queryParams"] {
                for (key, written) in (match.json[name]?.object ?? [:]).sorted(by: { $0.key < $1.key }) {
                    found += strings("\(place).\(name)[\(key)]", written)
                }
            }
            for header in match.headers where header.name.lowercased().hasPrefix("@request.auth.claims") {
                found.append(
                    finding(
                        .claimCondition, "\(place).headers[\(header.name)]",
                        "never holds: routes cannot look into tokens here"))
            }
            if let port = match.port, !(1...65535).contains(port) {
                found.append(finding(.invalidMatch, "\(place).port", "\(port) is no port"))
            }
            if match.ignoreUriCase, case .regex = match.uri {
                found.append(
                    finding(
                        .ruleFieldWithoutEffect, "\(place).ignoreUriCase", "has no effect on a regex: write (?i) in it")
                )
            }
            if !match.gateways.isEmpty {
                if !match.sourceLabels.isEmpty || !match.sourceNamespace.isEmpty {
                    found.append(
                        finding(
                            .matchOutsideOfGateways, "\(place).gateways",
                            "sourceLabels and sourceNamespace are not looked at beside it (R-5)"))
                }
                for (number, written) in match.gateways.enumerated()
                where !rules.rule.gateways.contains(
                    MeshModel.Rule.gateway(written, namespace: rules.rule.key.namespace))
                {
                    found.append(
                        finding(
                            .matchOutsideOfGateways, "\(place).gateways[\(number)]",
                            "\"\(written)\" is none of spec.gateways"))
                }
            }
        }
        return found
    }

    private func strings(_ place: String, _ written: JSON) -> [Diagnostic] {
        let kinds = ["exact", "prefix", "regex"].filter { written[$0] != nil }
        return kinds.count > 1
            ? [finding(.matchersExclude, place, "\(kinds.joined(separator: " and ")) exclude each other")] : []
    }

    /// H-2.
    private func reach() -> [Diagnostic] {
        let earlier = rules.rule.http.prefix(index).firstIndex { earlier in
            earlier.match.isEmpty
                || earlier.match.contains { match in
                    match.port == nil && match.gateways.isEmpty && match.sourceLabels.isEmpty
                        && match.sourceNamespace.isEmpty && Matches.isCatchAll(Matches.route(match))
                }
        }
        guard let earlier, rules.model.config.warnsOfConflicts else { return [] }
        return [
            finding(
                .routeNeverReached, "", "never reached: spec.http[\(earlier)] matches every request before it (H-2)")
        ]
    }

    // MARK: What is changed

    private func headers() -> [Diagnostic] {
        var found = operations(".headers", route.headers)
        for (number, destination) in route.route.enumerated() {
            found += operations(".route[\(number)].headers", destination.headers)
        }
        return found
    }

    /// H-14: names that begin with a colon and `host` are the router's, except that setting the authority is a rewrite.
    private func operations(_ place: String, _ headers: VirtualService.Headers?) -> [Diagnostic] {
        var found: [Diagnostic] = []
        for (name, operations) in [("request", headers?.request), ("response", headers?.response)] {
            guard let operations else { continue }
            func isReserved(_ key: String) -> Bool { key.hasPrefix(":") || key.lowercased() == "host" }
            for key in operations.set.keys.sorted() where isReserved(key) {
                if name == "request" && [":authority", "host"].contains(key.lowercased()) { continue }
                found.append(finding(.reservedHeader, "\(place).\(name).set[\(key)]", "\(key) cannot be set (H-14)"))
            }
            for key in operations.add.keys.sorted() where isReserved(key) {
                found.append(finding(.reservedHeader, "\(place).\(name).add[\(key)]", "\(key) cannot be added (H-14)"))
            }
            for (number, key) in operations.remove.enumerated() where isReserved(key) {
                found.append(
                    finding(.reservedHeader, "\(place).\(name).remove[\(number)]", "\(key) cannot be removed (H-14)"))
            }
        }
        return found
    }

    private func rewrite() -> [Diagnostic] {
        guard let rewrite = route.rewrite else { return [] }
        var found: [Diagnostic] = []
        if !rewrite.uri.isEmpty && rewrite.json["uriRegexRewrite"] != nil {
            found.append(finding(.invalidRewrite, ".rewrite", "uri and uriRegexRewrite exclude each other (H-13)"))
        }
        if rewrite.json["uriRegexRewrite"] != nil && rewrite.regexMatch.isEmpty {
            found.append(finding(.invalidRewrite, ".rewrite.uriRegexRewrite.match", "required"))
        }
        if route.redirect != nil || route.directResponse != nil {
            found.append(finding(.invalidRewrite, ".rewrite", "nothing is forwarded that could be rewritten"))
        }
        return found
    }

    // MARK: Faults, retries, copies

    private func percentage(_ place: String, _ written: JSON?) -> [Diagnostic] {
        guard let share = written?["value"]?.double else { return [] }
        return (0...100).contains(share)
            ? [] : [finding(.invalidFault, "\(place).percentage.value", "\(share) is no percentage")]
    }

    private func fault() -> [Diagnostic] {
        guard let fault = route.fault else { return [] }
        var found: [Diagnostic] = []
        if let delay = fault.json["delay"] {
            found += percentage(".fault.delay", delay["percentage"])
            if let share = delay["percent"]?.int, !(0...100).contains(share) {
                found.append(finding(.invalidFault, ".fault.delay.percent", "\(share) is no percentage"))
            }
            if fault.fixedDelay == nil, delay["exponentialDelay"] == nil {
                found.append(finding(.invalidFault, ".fault.delay.fixedDelay", "required"))
            }
            if fault.delayPercent == 0 {
                found.append(
                    finding(
                        .faultWithoutPercentage, ".fault.delay", "a delay without a percentage delays nothing (H-17)"))
            }
        }
        if let abort = fault.json["abort"] {
            found += percentage(".fault.abort", abort["percentage"])
            if let status = fault.abortStatus {
                if !(200...599).contains(status) {
                    found.append(
                        finding(.invalidFault, ".fault.abort.httpStatus", "\(status) is no status between 200 and 599"))
                }
            } else if let status = fault.abortGRPCStatus {
                if Actions.grpcStatus(status) == nil {
                    found.append(finding(.invalidFault, ".fault.abort.grpcStatus", "\"\(status)\" is no gRPC status"))
                }
            } else if abort["http2Error"] == nil {
                found.append(finding(.invalidFault, ".fault.abort", "httpStatus or grpcStatus is required"))
            }
            if fault.abortPercent == 0 {
                found.append(
                    finding(
                        .faultWithoutPercentage, ".fault.abort", "an abort without a percentage aborts nothing (H-17)"))
            }
        }
        return found
    }

    private func retries() -> [Diagnostic] {
        guard let retries = route.retries else { return [] }
        var found: [Diagnostic] = []
        if let attempts = retries.attempts, attempts < 0 {
            found.append(finding(.invalidRetries, ".retries.attempts", "\(attempts) is negative"))
        }
        if let attempts = retries.attempts, attempts == 0, let members = retries.json.object, members.count > 1 {
            let isPolicy = ["perTryTimeout", "retryOn", "retryRemoteLocalities"].contains { members[$0] != nil }
            found.append(
                finding(
                    isPolicy ? .invalidRetries : .retriesWithoutEffect, ".retries",
                    "attempts: 0 switches retries off; the other members have no effect (T-4)"))
        }
        for (name, time) in [("perTryTimeout", retries.perTryTimeout), ("backoff", retries.backoff)] {
            if let time, time > .zero, time < .milliseconds(1) {
                found.append(finding(.invalidRetries, ".retries.\(name)", "is shorter than 1 ms"))
            }
        }
        for part in retries.retryOn.split(separator: ",") {
            let word = String(part.filter { !$0.isWhitespace })
            if let status = UInt32(word), (100...599).contains(status) { continue }
            if RetryPolicies.knownConditions.contains(word) || word.isEmpty { continue }
            found.append(
                finding(
                    .invalidRetries,
                    ".retries.retryOn",
                    "\"\(word)\" is neither a status nor one of "
                        + RetryPolicies.knownConditions.sorted().joined(separator: ", ")))
        }
        if let timeout = route.timeout, timeout > .zero, let perTry = retries.perTryTimeout, perTry >= timeout {
            found.append(
                finding(
                    .retriesWithoutEffect, ".retries.perTryTimeout",
                    "is not shorter than timeout, which spans all tries (T-2)"))
        }
        return found
    }

    private func mirrors() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if route.json["mirror"] != nil && route.json["mirrors"] != nil {
            found.append(finding(.invalidMirror, ".mirrors", "mirror and mirrors exclude each other"))
        }
        for (number, mirror) in route.mirrors.enumerated() {
            let isSingle = route.json["mirror"] != nil
            let place = isSingle ? ".mirror" : ".mirrors[\(number)]"
            found += rules.destination(field + place + (isSingle ? "" : ".destination"), mirror.destination)
            if !(0...100).contains(mirror.percentage) {
                let member = isSingle ? ".mirrorPercentage.value" : "\(place).percentage.value"
                found.append(finding(.invalidMirror, member, "\(mirror.percentage) is no percentage"))
            }
            if route.route.isEmpty {
                found.append(finding(.invalidMirror, place, "nothing is forwarded that could be copied"))
            }
        }
        return found
    }

    private func cors() -> [Diagnostic] {
        guard let policy = route.corsPolicy else { return [] }
        var found: [Diagnostic] = []
        if policy.allowOrigins.isEmpty {
            found.append(
                finding(
                    .corsWithoutOrigins, ".corsPolicy.allowOrigins",
                    "without origins no cross-origin request is allowed (H-19)"))
        }
        for (number, written) in (policy.json["allowOrigins"]?.array ?? []).enumerated() {
            found += strings(".corsPolicy.allowOrigins[\(number)]", written)
        }
        if policy.allowCredentials == true
            && policy.allowOrigins.contains(where: { [.prefix(""), .present, .regex(".*"), .regex(".+")].contains($0) })
        {
            found.append(
                finding(
                    .corsForEverySite, ".corsPolicy.allowCredentials",
                    "with every origin allowed, any site can act for your users"))
        }
        return found
    }
}
