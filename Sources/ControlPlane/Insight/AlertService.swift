import HTTP
import IO
import Insight
import KubernetesAPI
import Mesh
import Serialization
import Telemetry

/// Evaluates the rules at each tick and tells whoever is configured.
///
/// Configured by the ConfigMap `skein-alerts` of `skein-system`: files of rules (`*.rules.yaml`), `alertmanager.yaml`, `alertmanagers.yaml`, `silences.yaml`. The rules that are
/// shipped are there always. `@unchecked Sendable`: used on one loop.
final class AlertService: @unchecked Sendable {
    /// How long a receiver is waited for.
    private static let patience = Duration.seconds(10)
    private static let routes = "alertmanager.yaml"
    private static let targets = "alertmanagers.yaml"
    private static let silences = "silences.yaml"
    static let object = NamespacedName(namespace: "skein-system", name: "skein-alerts")

    private(set) var book = AlertBook()
    private var routing = AlertRouting()
    private var notifier = AlertNotifier()
    /// What each Alertmanager was told, by its URL.
    private var feeds: [String: AlertmanagerFeed] = [:]
    /// The program that takes messages (`sendmail`); nil: receivers that are told by mail are refused.
    var mailProgram: String?
    private var known: [String: String]?
    private var isBusy = false
    private let loop: EventLoop
    private let log = Logger("alerts")
    /// What is wrong with the configuration; the last good one is in force.
    private(set) var problem: String?
    private(set) var delivered: UInt64 = 0
    private(set) var undelivered: UInt64 = 0
    /// The data of the ConfigMap.
    var configuration: () -> [String: String] = { [:] }

    init(on loop: EventLoop) { self.loop = loop }

    private func configure() {
        let data = configuration()
        guard data != known else { return }
        known = data
        do throws(RuleError) {
            var files = [try RuleFile(yaml: DefaultRules.text, file: "skein-rules.yaml")]
            for (name, text) in data.sorted(by: { $0.key < $1.key }) where name.hasSuffix(".rules.yaml") {
                files.append(try RuleFile(yaml: text, file: name))
            }
            for name in data.keys.sorted()
            where !name.hasSuffix(".rules.yaml") && ![Self.routes, Self.targets, Self.silences].contains(name) {
                throw RuleError("\(name): *.rules.yaml, \(Self.routes), \(Self.targets) and \(Self.silences) are known")
            }
            var routing = AlertRouting()
            if let text = data[Self.routes] {
                routing = try AlertRouting(yaml: text, silences: nil, file: Self.routes)
            }
            if mailProgram == nil, routing.receivers.contains(where: \.isMail) {
                throw RuleError("\(Self.routes): email_configs need skein up --mail-program PATH")
            }
            if let text = data[Self.silences] {
                routing.silences = try AlertRouting.silences(text, file: Self.silences)
            }
            var targets = AlertmanagerTargets()
            if let text = data[Self.targets] { targets = try AlertmanagerTargets(yaml: text, file: Self.targets) }
            feeds = Dictionary(
                targets.urls.map { ($0, feeds[$0] ?? AlertmanagerFeed()) }, uniquingKeysWith: { first, _ in first })
            book.use(files)
            self.routing = routing
            problem = nil
        } catch {
            problem = "ConfigMap \(Self.object): \(error.description)"
            log.error("the alerts' configuration is not used", ["error": problem ?? ""])
            if book.expressions.isEmpty, let files = try? RuleFile(yaml: DefaultRules.text, file: "skein-rules.yaml") {
                book.use([files])
            }
        }
    }

    /// Evaluates the rules on samples, on a thread of its own, and sends what is due.
    func evaluate(_ store: SeriesStore, at time: Int64) {
        configure()
        guard !isBusy else { return }
        isBusy = true
        let expressions = book.expressions
        Task(executorPreference: loop) { [weak self] in
            let answers = await Task.detached { AlertBook.ask(expressions, store, at: time) }.value
            guard let self else { return }
            self.isBusy = false
            // Rules that came meanwhile are asked at the next tick.
            guard self.book.expressions == expressions else { return }
            let before = Set(self.book.alerts.filter { $0.state == .firing }.map(\.labels))
            self.book.take(answers, at: time)
            for alert in self.book.alerts where alert.state == .firing && !before.contains(alert.labels) {
                self.log.warning(
                    "alert", ["alert": alert.labels["alertname"], "summary": alert.annotations["summary"] ?? ""])
            }
            self.tell(at: time)
        }
    }

    private func tell(at time: Int64) {
        let alerts = book.alerts
        for message in notifier.due(alerts, routing, at: time) {
            deliver { service in
                switch message.receiver.channel {
                case .webhook(let url): await service.post(message.body, to: url)
                case .mail(let from, let to):
                    await service.mail(AlertMail.text(message.body, from: from, to: to, at: time), to: to)
                }
            } then: {
                $0.notifier.sent(message, at: $1, arrived: $2)
            }
        }
        for url in feeds.keys.sorted() {
            guard let message = feeds[url]?.due(alerts, at: time) else { continue }
            deliver {
                await $0.post(message.body, to: url)
            } then: {
                $0.feeds[url]?.sent(message, at: $1, arrived: $2)
            }
        }
    }

    /// Sends something, counts whether it arrived, and tells who asked for it.
    private func deliver(
        _ send: @escaping @Sendable (AlertService) async -> Bool,
        then: @escaping @Sendable (AlertService, _ time: Int64, _ arrived: Bool) -> Void
    ) {
        Task(executorPreference: loop) { [weak self] in
            guard let self else { return }
            let arrived = await send(self)
            if arrived { self.delivered += 1 } else { self.undelivered += 1 }
            then(self, Int64(InsightService.seconds * 1000), arrived)
        }
    }

    private func post(_ body: JSON, to url: String) async -> Bool {
        guard let place = WebhookAddress(url), let address = SocketAddress(place.authority) else { return false }
        let loop = loop
        let client = HTTPClient(authority: place.authority, on: loop) { () throws(HTTPError) in
            do throws(SystemError) {
                return try await SocketStream.connect(to: address, on: loop, timeout: Self.patience)
            } catch {
                throw HTTPError.connection(error)
            }
        }
        client.headTimeout = Self.patience
        defer { client.close() }
        do throws(HTTPError) {
            var request = HTTPClientRequest(.post, place.path, body: body.bytes)
            do throws(HTTPFieldError) {
                try request.headers.append("content-type", "application/json")
            } catch { throw .field(error) }
            let response = try await client.send(request)
            defer { response.close() }
            if (200..<300).contains(response.status) { return true }
            log.warning("a receiver of alerts refused them", ["url": url, "status": "\(response.status)"])
        } catch {
            log.warning("a receiver of alerts was not reached", ["url": url, "error": "\(error)"])
        }
        return false
    }

    /// Waiting for a program blocks a thread: one of its own.
    private func mail(_ text: String, to: [String]) async -> Bool {
        guard let mailProgram else { return false }
        let problem: String? = await withCheckedContinuation { continuation in
            do throws(SystemError) {
                try Thread.start(name: "skein-mail") {
                    continuation.resume(returning: Self.run(mailProgram, Array(text.utf8)))
                }
            } catch {
                continuation.resume(returning: "\(error)")
            }
        }
        if let problem {
            log.warning(
                "a message was not taken", ["program": mailProgram, "to": to.joined(separator: ","), "error": problem])
        }
        return problem == nil
    }

    /// What is wrong; nil when the program took the message.
    private static func run(_ program: String, _ message: [UInt8]) -> String? {
        do throws(SystemError) {
            let (status, output) = try Child.run(
                Child.Command([program, "-i", "-t"]), input: message, limit: 1000, timeout: patience)
            return status.isSuccess ? nil : "\(status) \(String(decoding: output, as: UTF8.self))"
        } catch {
            return "\(error)"
        }
    }

    /// `/api/v1/alerts`, and for `skein alerts` what is silenced beside it.
    var alerts: JSON {
        var json = book.alertsJSON
        if let problem { json["problem"] = .string(problem) }
        return json
    }

    /// The same for the dashboard: with evidence, and what is silenced.
    var shown: JSON { book.alertsJSON(routing, at: Int64(InsightService.seconds * 1000)) }

    /// The service's own figures, as a page of metrics.
    var metrics: String {
        let firing = book.alerts.count { $0.state == .firing }
        return """
            # HELP skein_alerts_firing Alerts that fire.
            # TYPE skein_alerts_firing gauge
            skein_alerts_firing \(firing)
            # HELP skein_alerts_configuration_good Whether the ConfigMap skein-alerts is in force as it stands.
            # TYPE skein_alerts_configuration_good gauge
            skein_alerts_configuration_good \(problem == nil ? 1 : 0)
            # HELP skein_alerts_delivered_total Messages that receivers, Alertmanagers and the mail program took.
            # TYPE skein_alerts_delivered_total counter
            skein_alerts_delivered_total \(delivered)
            # HELP skein_alerts_undelivered_total Messages that nobody took; they are sent again.
            # TYPE skein_alerts_undelivered_total counter
            skein_alerts_undelivered_total \(undelivered)

            """
    }
}
