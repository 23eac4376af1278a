internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// How the tries of a request are taken to end, when it is asked what follows: `503`, `connect-failure`, `grpc:14`.
struct TryEnding: Sendable, Hashable {
    /// As it was asked.
    var words: String
    /// As the retry policy sees it.
    var outcome: TryOutcome

    /// Most tries that are followed: the policy of a route may allow any number.
    static let triesMax = 100

    /// Endings that are no response.
    private static let named: [String: TryOutcome] = [
        "connect-failure": .connectFailure, "reset-before-request": .reset(requestBytesSent: false),
        "reset": .reset(requestBytesSent: true), "refused-stream": .refusedStream, "timeout": .perTryTimeout,
    ]

    /// Reads one ending.
    init(_ text: String) throws(UsageError) {
        words = text
        if let outcome = Self.named[text] {
            self.outcome = outcome
        } else if text.hasPrefix("grpc:"), let status = UInt32(text.dropFirst(5)), status <= 16 {
            outcome = .response(status: 200, grpcStatus: status)
        } else if let status = UInt16(text), (200...599).contains(status) {
            outcome = .response(status: status)
        } else {
            throw UsageError(
                "answer: \"\(text)\" is no status, no grpc:STATUS, and none of \(Self.named.keys.sorted().joined(separator: ", "))"
            )
        }
    }

    /// Reads a list with commas between; the last one is how all later tries end.
    static func list(_ text: String) throws(UsageError) -> [TryEnding] {
        var list: [TryEnding] = []
        for part in text.split(separator: ",") {
            guard list.count < triesMax else { throw UsageError("answer: more than \(triesMax)") }
            list.append(try TryEnding(part.filter { $0 != " " }))
        }
        guard !list.isEmpty else { throw UsageError("answer: nothing is said") }
        return list
    }

    /// What the client gets of it, when it is the last, and the flag of a try that had no response.
    var delivered: (status: UInt16, flag: ResponseFlags) {
        switch outcome {
        case .response(let status, _): (status, [])
        case .connectFailure: (503, .upstreamConnectionFailure)
        case .reset, .refusedStream: (503, .upstreamRemoteReset)
        case .perTryTimeout: (504, .upstreamRequestTimeout)
        case .overflow: (503, .upstreamOverflow)
        case .noHealthyHost: (503, .noHealthyUpstream)
        }
    }
}

// What would follow if hosts answered so: each try is judged by the code that judges real ones.
extension Router {
    func explainTries(_ explanation: Explanation, _ cluster: ClusterRuntime) {
        guard let last = explanation.tries.last else { return }
        let place = explanation.actionPlace + ".retry_policy"
        let use = priority == .high ? cluster.highUse : cluster.normalUse
        var (retry, waited, flags) = (retry, Duration.zero, ResponseFlags())
        var list: [JSON] = []
        var reason = ""
        var (ending, number) = (explanation.tries.first ?? last, 1)
        tries: while number <= TryEnding.triesMax {
            ending = number <= explanation.tries.count ? explanation.tries[number - 1] : last
            let decision = retry.decide(after: ending.outcome, random: worker.random.next())
            var (again, text) = (false, "")
            switch decision {
            case .deliver(.noPolicy): (reason, text) = ("noPolicy", "no policy repeats this request")
            case .deliver(.notRetriable):
                (reason, text) = (
                    "notRetriable",
                    "this is no condition of retry_on (\(retry.conditions.words.joined(separator: ",")))"
                )
            case .deliver(.limitExceeded):
                (reason, text) = ("limitExceeded", "all \(retry.retriesMax) retries are made")
                flags.insert(.upstreamRetryLimitExceeded)
            case .retry(let wait):
                if number == 1, !use.canAcquire(.retry) {
                    (reason, text) = (
                        "budget",
                        "\(use.count(of: .retry)) retries are under way in the cluster, which is the limit now"
                    )
                    flags.insert(.upstreamOverflow)
                } else if let total = timeouts?.total, total > .zero, waited + wait >= total {
                    (reason, text) = ("timeout", "the timeout of the whole request, \(total), ends while it waits")
                    flags.insert(.upstreamRequestTimeout)
                } else {
                    waited += wait
                    (again, text) = (true, "tried again after \(wait)\(elsewhere(cluster))")
                }
            }
            list.append(["ends": .string(ending.words), "again": .bool(again), "why": .string(text)])
            explanation.note(
                "tries", "try \(number) ends with \(ending.words): \(again ? "" : "the client gets it: ")\(text)",
                at: place)
            guard again else { break tries }
            number += 1
        }
        var (status, flag) = ending.delivered
        if reason == "timeout" { (status, flag) = (504, .upstreamRequestTimeout) }
        flags.formUnion(flag)
        explanation.state["tries"] = [
            "list": .array(list), "retries": .integer(Int64(min(number, TryEnding.triesMax) - 1)),
            "reason": .string(reason), "status": .integer(Int64(status)), "flags": .string(flags.text),
        ]
    }

    /// Whether a retry has another host to go to.
    private func elsewhere(_ cluster: ClusterRuntime) -> String {
        guard forwarding?.retryPolicy?.avoidsPreviousHosts == true else { return "" }
        let others = cluster.hostSet.count - 1
        return others > 0
            ? ", at another of the \(others + 1) hosts if it can be" : ", at the same host: there is no other"
    }
}

extension ClusterMetrics {
    /// What became of retries since the proxy started, or the counters were set to zero.
    var retries: JSON {
        func count(_ cell: Cell) -> JSON { .integer(Int64(clamping: value(cell))) }
        return [
            "made": count(.upstream_rq_retry), "succeeded": count(.upstream_rq_retry_success),
            "limit_exceeded": count(.upstream_rq_retry_limit_exceeded),
            "overflowed": count(.upstream_rq_retry_overflow),
        ]
    }
}

extension Explanation {
    /// What the running proxy has counted of retries to the cluster.
    func noteRetries(_ metrics: ClusterMetrics) {
        let json = metrics.retries
        state["retries"] = json
        func count(_ name: String) -> Int { json[name]?.int ?? 0 }
        let (made, failed, full) = (count("made"), count("limit_exceeded"), count("overflowed"))
        guard made + failed + full > 0 else { return }
        note(
            "retries",
            "of all requests so far: \(made) retries made, \(count("succeeded")) of them with success; \(failed) requests had none left, \(full) were not repeated since too many were",
            level: 1)
    }
}
