import HTTP
import IO
import Insight
import KubernetesAPI
import Mesh
import Serialization
import Telemetry

/// Evaluates the rules at each tick and tells whoever is configured.
///
/// Configured by the ConfigMap `skein-alerts` of `skein-system`: files of rules (`*.rules.yaml`), `alertmanager.yaml`, `silences.yaml`. The rules that are shipped are there
/// always. `@unchecked Sendable`: used on one loop.
final class AlertService: @unchecked Sendable {
    /// How long a receiver is waited for.
    private static let patience = Duration.seconds(10)
    static let object = NamespacedName(namespace: "skein-system", name: "skein-alerts")

    private(set) var book = AlertBook()
    private var routing = AlertRouting()
    private var notifier = AlertNotifier()
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
            where !name.hasSuffix(".rules.yaml") && name != "alertmanager.yaml" && name != "silences.yaml" {
                throw RuleError("\(name): *.rules.yaml, alertmanager.yaml and silences.yaml are known")
            }
            var routing = AlertRouting()
            if let text = data["alertmanager.yaml"] {
                routing = try AlertRouting(yaml: text, silences: nil, file: "alertmanager.yaml")
            }
            if let text = data["silences.yaml"] {
                routing.silences = try AlertRouting.silences(text, file: "silences.yaml")
            }
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
            for message in self.notifier.due(self.book.alerts, self.routing, at: time) { self.send(message) }
        }
    }

    private func send(_ message: AlertNotifier.Message) {
        guard let place = WebhookAddress(message.webhook.url), let address = SocketAddress(place.authority) else {
            notifier.sent(message, at: Int64(InsightService.seconds * 1000), arrived: false)
            return
        }
        let loop = loop
        let client = HTTPClient(authority: place.authority, on: loop) { () throws(HTTPError) in
            do throws(SystemError) {
                return try await SocketStream.connect(to: address, on: loop, timeout: Self.patience)
            } catch {
                throw HTTPError.connection(error)
            }
        }
        client.headTimeout = Self.patience
        Task(executorPreference: loop) { [weak self] in
            var arrived = false
            do throws(HTTPError) {
                var request = HTTPClientRequest(.post, place.path, body: message.body.bytes)
                do throws(HTTPFieldError) {
                    try request.headers.append("content-type", "application/json")
                } catch { throw .field(error) }
                let response = try await client.send(request)
                arrived = (200..<300).contains(response.status)
                response.close()
            } catch {
                self?.log.warning(
                    "a receiver of alerts was not reached", ["url": message.webhook.url, "error": "\(error)"])
            }
            client.close()
            guard let self else { return }
            if arrived { self.delivered += 1 } else { self.undelivered += 1 }
            self.notifier.sent(message, at: Int64(InsightService.seconds * 1000), arrived: arrived)
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
            # HELP skein_alerts_delivered_total Messages that receivers took.
            # TYPE skein_alerts_delivered_total counter
            skein_alerts_delivered_total \(delivered)
            # HELP skein_alerts_undelivered_total Messages that no receiver took; they are sent again.
            # TYPE skein_alerts_undelivered_total counter
            skein_alerts_undelivered_total \(undelivered)

            """
    }
}
