import IO
import Serialization
import Telemetry

// `make bench-control`: a process full of simulated proxies; tools/bench-control.py starts it, the control plane and the changes.
// `make bench-dns`: the name server alone (`skein-bench names`); tools/bench-dns.py starts it.

/// Says a line to whoever started us.
func say(_ json: JSON) { Console.out(json.text + "\n") }

func run() -> Int32 {
    let arguments = Array(CommandLine.arguments.dropFirst())
    if arguments.first == "names" { return NameBench.run(Array(arguments.dropFirst())) }
    let options: BenchOptions
    switch BenchOptions.read(arguments) {
    case .success(let read): options = read
    case .failure(let problem):
        Console.error("skein-bench: \(problem)\n")
        return 2
    }
    Signals.ignorePipe()
    Environment.raiseDescriptorLimit()
    Logger.level = .error
    let loop: EventLoop
    let crowd: Crowd
    do {
        loop = try EventLoop.start(name: "proxies")
        crowd = try Crowd(options, on: loop)
    } catch {
        Console.error("skein-bench: \(error)\n")
        return 1
    }
    loop.execute { crowd.start() }
    while let line = readLine() {
        switch line {
        case "state": loop.execute { crowd.sayState() }
        case "pause": loop.execute { crowd.pause() }
        case "reconnect": loop.execute { crowd.reconnect() }
        default: return 0
        }
    }
    return 0
}

Environment.exit(run())
