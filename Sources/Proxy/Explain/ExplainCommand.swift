internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// `skein-proxy explain`: what a configuration would do with a request.
public struct ExplainCommand: Sendable {
    private var options = Options()
    private var question = ExplainQuestion()
    private var isJSON = false
    private var showsHelp = false
    private var hasRequest = false
    private var isBatch = false
    private var resources: [String] = []
    private var requests = "/proc/self/fd/0"

    /// What `--help` prints.
    public static let help = """
        skein-proxy explain: what a configuration does with a request, decision by decision.

        usage: skein-proxy explain -c FILE [--listener L] 'GET http://reviews/x' [options]

          -c, --config-path FILE      bootstrap, YAML or JSON
              --config-yaml TEXT      YAML merged over the file
              --listener NAME|ADDRESS|PORT
                                      where the connection comes in (not needed where there is one listener)
          -H, --header 'NAME: VALUE'  a header of the request; again for more
              --source IP[:PORT]      the client (default this machine)
              --destination IP:PORT   where the client wanted to go, before a redirect (default the listener's address)
              --tls                   the client speaks TLS (implied by https, --sni, --alpn and --principal)
              --sni NAME              the name in its ClientHello
              --alpn PROTOCOL,…       the protocols that it offers
              --principal NAME        the URI or host name in its certificate, which is taken to be verified
              --http2                 the request comes by HTTP/2
              --answer STATUS,…       what follows if the host answers so: 503, grpc:14, or connect-failure, reset,
                                      reset-before-request, refused-stream, timeout; the last one for all later tries
              --seed N                what weights and percentages are drawn from (default 1)
          -o, --output text|json      how to print (default text)
              --batch                 requests come as JSON lines from standard input, as /recorder writes them; one line
                                      goes out for each
              --requests FILE         the same from a file
              --resources FILE        what a control plane would deliver (a DiscoveryResponse, binary); with a second
                                      one, --batch tells what the second answers differently
              --defaults hardened|envoy, --service-cluster NAME, --service-node ID, --service-zone ZONE
                                      as for the proxy

        The code that decides is the one that serves. Nothing is sent, bound, written or counted. Filters that would ask
        somebody else are not run, and are taken to let the request pass.

        Exit status: 0 the request would be forwarded; 3 the proxy would answer itself (a redirect, a direct response);
        4 it would be refused; 1 the configuration cannot be used; 2 wrong usage, or nothing listens there.

        """

    /// Reads the arguments that follow `explain`.
    public init(arguments: [String]) throws(UsageError) {
        var passed: [String] = []
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            var name = argument
            var inline: String?
            if argument.hasPrefix("--"), let equals = argument.firstIndex(of: "=") {
                name = String(argument[..<equals])
                inline = String(argument[argument.index(after: equals)...])
            }
            func value() throws(UsageError) -> String {
                if let inline { return inline }
                guard let next = rest.popFirst() else { throw UsageError("\(name) needs a value") }
                return next
            }
            switch name {
            case "-c", "--config-path", "--config-yaml", "--service-cluster", "--service-node", "--service-zone",
                "--defaults":
                passed += [name, try value()]
            case "--listener": question.listener = try value()
            case "-H", "--header": try question.take(header: try value())
            case "-X", "--method": question.method = try value()
            case "--source": try question.take(source: try value())
            case "--destination": try question.take(destination: try value())
            case "--tls": question.usesTLS = true
            case "--sni":
                question.serverName = try value()
                question.usesTLS = true
            case "--alpn":
                question.applicationProtocols = try value().split(separator: ",").map { String($0) }
                question.usesTLS = true
            case "--principal":
                question.principal = try value()
                question.usesTLS = true
            case "--http2": question.usesHTTP2 = true
            case "--answer": question.tries = try TryEnding.list(try value())
            case "--seed":
                let text = try value()
                guard let number = UInt64(text) else { throw UsageError("--seed: \(text) is no number") }
                question.seed = number
            case "-o", "--output":
                let text = try value()
                guard text == "text" || text == "json" else {
                    throw UsageError("--output: \(text) is neither text nor json")
                }
                isJSON = text == "json"
            case "--batch": isBatch = true
            case "--requests":
                requests = try value()
                isBatch = true
            case "--resources": resources.append(try value())
            case "--help", "-h": showsHelp = true
            default:
                guard !argument.hasPrefix("-") else {
                    throw UsageError("unknown argument \(argument); see skein-proxy explain --help")
                }
                guard !hasRequest else { throw UsageError("more than one request: \(argument)") }
                hasRequest = true
                // The method of `-X` stands where the request names none.
                try question.take(request: argument)
            }
        }
        options = try Options(arguments: passed)
        guard resources.count <= (isBatch ? 2 : 1) else { throw UsageError("--resources: once, or twice with --batch") }
        guard !isBatch || !hasRequest else {
            throw UsageError("--batch reads its requests from standard input; none is given beside it")
        }
        guard showsHelp || hasRequest || isBatch else {
            throw UsageError("no request; for example: skein-proxy explain -c FILE 'GET http://reviews/x'")
        }
    }

    /// Explains, and prints by `out` and `error`; the answer is the exit status.
    public func run(out: (String) -> Void, error: (String) -> Void) -> Int32 {
        if showsHelp {
            out(Self.help)
            return 0
        }
        if isBatch { return runBatch(out: out, error: error) }
        var options = options
        if !resources.isEmpty, options.configPath == nil, options.configYAML == nil {
            options.configYAML = ExplainBatch.bootstrap
        }
        do throws(ProxyError) {
            let bootstrap: BootstrapConfig
            do throws(ConfigurationError) {
                bootstrap = try BootstrapConfig(options)
            } catch let failure {
                throw ProxyError(options.configPath, failure)
            }
            let delivered = try resources.first.map { file throws(ProxyError) in try DeliveredResources(file: file) }
            let world = try ExplainWorld(
                bootstrap, seed: question.seed, delivered: delivered ?? DeliveredResources())
            defer { world.close() }
            let explanation: Explanation
            do throws(UsageError) {
                explanation = try Explainer.explain(question, in: world)
            } catch let failure {
                error("skein-proxy explain: \(failure)\n")
                return 2
            }
            out(isJSON ? explanation.json.pretty : explanation.text)
            return explanation.exitStatus
        } catch let failure {
            error("skein-proxy explain: \(failure)\n")
            return 1
        }
    }

    private func runBatch(out: (String) -> Void, error: (String) -> Void) -> Int32 {
        do throws(ProxyError) {
            var batch = try ExplainBatch(options, resources: resources)
            defer { batch.close() }
            let input: [UInt8]
            do throws(SystemError) {
                input = try File.read(requests)
            } catch {
                throw ProxyError("\(error)")
            }
            for line in input.split(separator: 0x0A) {
                guard let question = try? JSON.parse(Array(line)) else {
                    out(#"{"error":"this line is no JSON"}"# + "\n")
                    continue
                }
                out(batch.answer(question).text + "\n")
            }
            return 0
        } catch let failure {
            error("skein-proxy explain: \(failure)\n")
            return 1
        }
    }
}
