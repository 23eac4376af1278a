internal import HTTP
internal import IO
internal import Serialization

extension Command {
    private static let id = Flag("id", value: "ID", "the instance, where there are several (default: the name)")
    private static let port = Flag("port", value: "N", "the port that it listens on")
    private static let address = Flag(
        "address", value: "ADDR", "where it is reached (default: this machine, as pods reach it)")
    private static let tag = Flag("tag", value: "TAG", "a tag; may be repeated")
    private static let meta = Flag(
        "meta", value: "NAME=VALUE", "metadata; may be repeated (protocol=http says what is spoken)")
    private static let weight = Flag("weight", value: "N", "its share of the requests (default 1)")
    private static let checkHTTP = Flag("check-http", value: "URL", "healthy while this URL answers 2xx")
    private static let checkTCP = Flag("check-tcp", value: "HOST:PORT", "healthy while this port takes connections")
    private static let checkGRPC = Flag(
        "check-grpc", value: "HOST:PORT[/SERVICE]", "healthy while its gRPC health service says so")
    private static let checkTTL = Flag(
        "check-ttl", value: "TIME", "healthy while it reports that itself, at least so often")
    private static let interval = Flag("interval", value: "TIME", "between two checks (default 10s)")
    private static let removeAfter = Flag(
        "deregister-after", value: "TIME", "remove it when it was critical for so long (at least 1m)")
    private static let remove = Flag("remove", "remove the registration instead")
    private static let file = Flag(
        "filename", short: "f", value: "FILE",
        "services as JSON or YAML, in the form of Consul's files; - is standard input")
    private static let form = Flag("output", short: "o", value: "FORMAT", "table or json (default table)")

    static let register = Command(
        "register", "[NAME]", "Register a program that is no pod as a service",
        details: """
            skein register billing --port 9000 --check-http http://127.0.0.1:9000/health
            Pods then call billing.service.consul (docs/registry.md). The registration lasts until skein deregister, over restarts too.
            """,
        flags: [
            file, id, port, address, tag, meta, weight, checkHTTP, checkTCP, checkGRPC, checkTTL, interval, removeAfter,
            remove, .runDirectory,
        ]
    ) { invocation throws(CommandError) in
        let services = try definitions(invocation)
        let isRemoval = invocation.has(remove)
        return try onLoop { loop throws(CommandError) in
            let client = RegistryClient(runDirectory: invocation.runDirectory, on: loop)
            for service in services {
                let id = Self.text(service, "id") ?? Self.text(service, "name") ?? ""
                if isRemoval {
                    _ = try await client.call(.put, "agent/service/deregister/" + PercentEncoding.encoded(id))
                    Console.out("\(id) removed\n")
                } else {
                    _ = try await client.call(
                        .put, "agent/service/register?replace-existing-checks=true", body: service)
                    Console.out("\(id) registered\n")
                }
            }
            return 0
        }
    }

    static let deregister = Command(
        "deregister", "ID...", "Remove registrations of programs that are no pods", flags: [.runDirectory]
    ) { invocation throws(CommandError) in
        guard !invocation.operands.isEmpty else { throw CommandError.usage("deregister", "needs an ID") }
        return try onLoop { loop throws(CommandError) in
            let client = RegistryClient(runDirectory: invocation.runDirectory, on: loop)
            for id in invocation.operands {
                _ = try await client.call(.put, "agent/service/deregister/" + PercentEncoding.encoded(id))
                Console.out("\(id) removed\n")
            }
            return 0
        }
    }

    static let services = Command(
        "services", "[NAME]", "Show registered programs and how they are", flags: [form, .runDirectory]
    ) { invocation throws(CommandError) in
        let form = invocation.value(form) ?? "table"
        guard ["table", "json"].contains(form) else {
            throw CommandError.usage("services", "-o \(form): table and json are known")
        }
        guard invocation.operands.count <= 1 else { throw CommandError.usage("services", "takes one name") }
        let found: [JSON] = try onLoop { loop throws(CommandError) in
            let client = RegistryClient(runDirectory: invocation.runDirectory, on: loop)
            var names = invocation.operands
            if names.isEmpty { names = try await client.call(.get, "catalog/services").object?.keys.sorted() ?? [] }
            var found: [JSON] = []
            for name in names {
                found += try await client.call(.get, "health/service/" + PercentEncoding.encoded(name)).array ?? []
            }
            return found
        }
        if form == "json" {
            Console.out(JSON.array(found).pretty + "\n")
        } else {
            Console.out(
                TextTable(
                    header: ["SERVICE", "ID", "NODE", "ADDRESS", "TAGS", "STATE", "CHECKS"], rows: found.map(row)
                )
                .text)
        }
        return 0
    }

    /// The line of an instance, as the health pages tell of it.
    static func row(_ instance: JSON) -> [String] {
        let service = instance["Service"] ?? .null
        let own = service["Address"]?.string ?? ""
        let address = own.isEmpty ? instance["Node"]?["Address"]?.string ?? "" : own
        let checks = instance["Checks"]?.array ?? []
        let states = checks.compactMap { $0["Status"]?.string }
        let bad = checks.filter { $0["Status"] != "passing" }.compactMap { $0["CheckID"]?.string }
        return [
            service["Service"]?.string ?? "", service["ID"]?.string ?? "", instance["Node"]?["Node"]?.string ?? "",
            "\(address):\(service["Port"]?.int ?? 0)",
            (service["Tags"]?.array ?? []).compactMap(\.string).joined(separator: ","),
            states.contains("critical") ? "critical" : states.contains("warning") ? "warning" : "passing",
            bad.isEmpty ? "\(checks.count) passing" : bad.joined(separator: ","),
        ]
    }

    // MARK: What is to be registered

    /// A member whose name's letters may be large or small, as in Consul's files.
    private static func text(_ json: JSON, _ name: String) -> String? {
        json.object?.first { $0.key.lowercased() == name }?.value.string
    }

    /// The services of the files, or the one of the flags.
    static func definitions(_ invocation: Invocation) throws(CommandError) -> [JSON] {
        let files = invocation.all(file)
        guard files.isEmpty else {
            let used = [
                id, port, address, tag, meta, weight, checkHTTP, checkTCP, checkGRPC, checkTTL, interval, removeAfter,
            ]
            guard invocation.operands.isEmpty, !used.contains(where: invocation.has) else {
                throw CommandError.usage("register", "-f and flags for a service exclude each other")
            }
            var services: [JSON] = []
            for path in files { services += try read(path) }
            return services
        }
        guard invocation.operands.count == 1, let name = invocation.operands.first, !name.isEmpty else {
            throw CommandError.usage("register", "needs one name, or -f")
        }
        var service: JSON = ["Name": .string(name), "ID": .string(invocation.value(id) ?? name)]
        if let text = invocation.value(port) {
            guard let number = UInt16(text), number > 0 else {
                throw CommandError.usage("register", "--port \(text): not a number from 1 to 65535")
            }
            service["Port"] = .integer(Int64(number))
        }
        if let text = invocation.value(address) { service["Address"] = .string(text) }
        service["Tags"] = .array(invocation.all(tag).map { .string($0) })
        var values: [String: JSON] = [:]
        for text in invocation.all(meta) {
            guard let equals = text.firstIndex(of: "=") else {
                throw CommandError.usage("register", "--meta \(text): not NAME=VALUE")
            }
            values[String(text[..<equals])] = .string(String(text[text.index(after: equals)...]))
        }
        service["Meta"] = .object(values)
        if let text = invocation.value(weight) {
            guard let number = UInt16(text), number > 0 else {
                throw CommandError.usage("register", "--weight \(text): not a number from 1 to 65535")
            }
            service["Weights"] = ["Passing": .integer(Int64(number)), "Warning": 1]
        }
        service["Checks"] = .array(checks(invocation))
        return [service]
    }

    private static func checks(_ invocation: Invocation) -> [JSON] {
        var checks: [JSON] = []
        for (flag, member) in [(checkHTTP, "HTTP"), (checkTCP, "TCP"), (checkGRPC, "GRPC"), (checkTTL, "TTL")] {
            for value in invocation.all(flag) {
                var check: JSON = .object([member: .string(value)])
                if member != "TTL" { check["Interval"] = .string(invocation.value(interval) ?? "10s") }
                if let after = invocation.value(removeAfter) {
                    check["DeregisterCriticalServiceAfter"] = .string(after)
                }
                checks.append(check)
            }
        }
        return checks
    }

    /// `service: {…}`, `services: […]` or the service itself.
    private static func read(_ path: String) throws(CommandError) -> [JSON] {
        let text: String
        do throws(SystemError) { text = try File.text(path == "-" ? "/dev/stdin" : path) } catch {
            throw CommandError(error)
        }
        let documents: [YAMLDocument]
        do throws(YAMLError) { documents = try YAML.parse(text, file: path) } catch {
            throw CommandError("skein register: \(error)")
        }
        return documents.map(\.json).flatMap { document -> [JSON] in
            if let one = document["service"] ?? document["Service"] { return [one] }
            if let some = (document["services"] ?? document["Services"])?.array { return some }
            return [document]
        }
    }
}
