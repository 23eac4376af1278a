internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization

extension Command {
    private static let watch = Flag("watch", short: "w", "go on and show each change")
    private static let showManagedFields = Flag(
        "show-managed-fields", "with -o json and yaml also who manages which field")
    private static let showLabels = Flag("show-labels", "a further column with the labels")

    static let get = Command(
        "get", "KIND[,KIND…] [NAME…] | KIND/NAME…", "Show objects",
        flags: [
            .namespace, .allNamespaces, .output, .selector, watch, showLabels, showManagedFields, .dataDirectory,
            .runDirectory,
        ]
    ) { invocation throws(CommandError) in
        let targets = try ObjectNames.parse(invocation.operands)
        let format = invocation.value(.output) ?? "table"
        guard ["table", "wide", "json", "yaml", "name"].contains(format) else {
            throw CommandError.usage("get", "-o \(format): table, wide, json, yaml and name are known")
        }
        return try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            let namespace = invocation.has(.allNamespaces) ? nil : invocation.value(.namespace) ?? "default"
            if format == "table" || format == "wide" {
                return try await tables(
                    targets, client, namespace, invocation.value(.selector), isWide: format == "wide",
                    hasLabels: invocation.has(showLabels), isWatch: invocation.has(watch))
            }
            return try await objects(
                targets, client, namespace, invocation.value(.selector), format,
                hasManagedFields: invocation.has(showManagedFields))
        }
    }

    private static func paths(_ target: ObjectNames, _ namespace: String?) -> [String] {
        if target.names.isEmpty { return [target.kind.path(namespace: namespace)] }
        return target.names.map { target.kind.path(namespace: namespace ?? "default", name: $0) }
    }

    private static let tableForm = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

    private static func tables(
        _ targets: [ObjectNames], _ client: KubernetesClient, _ namespace: String?, _ selector: String?, isWide: Bool,
        hasLabels: Bool, isWatch: Bool
    ) async throws(CommandError) -> Int32 {
        var status: Int32 = 0
        var isFirst = true
        for target in targets {
            var table = TextTable()
            var version = "0"
            for path in paths(target, namespace) {
                let query = selector.map { [("labelSelector", $0)] } ?? []
                let answer = try await client.call(.get, path, query: query, accept: tableForm)
                guard answer.isSuccess else {
                    Console.error(
                        "Error from server (\(answer.json["reason"]?.string ?? "Unknown")): \(answer.message)\n")
                    status = 1
                    continue
                }
                version = answer.json["metadata"]?["resourceVersion"]?.string ?? "0"
                let prefix = targets.count > 1 ? target.kind.qualifiedName + "/" : ""
                table.append(
                    answer.json, isWide: isWide, withNamespace: namespace == nil && target.kind.isNamespaced,
                    withLabels: hasLabels, namePrefix: prefix)
            }
            if table.rows.isEmpty {
                guard status == 0, targets.count == 1 else { continue }
                Console.error("No resources found\(namespace.map { " in \($0) namespace." } ?? "")\n")
            } else {
                Console.out((isFirst ? "" : "\n") + table.text)
                isFirst = false
            }
            if isWatch, targets.count == 1, let path = paths(target, namespace).first {
                try await follow(path, target, client, version, selector, table.widths, isWide, namespace == nil)
            }
        }
        return status
    }

    private static func follow(
        _ path: String, _ target: ObjectNames, _ client: KubernetesClient, _ version: String, _ selector: String?,
        _ widths: [Int], _ isWide: Bool, _ withNamespace: Bool
    ) async throws(CommandError) {
        var query = [("watch", "true"), ("resourceVersion", version)]
        if let selector { query.append(("labelSelector", selector)) }
        var collection = path
        if let name = target.names.first {
            collection = String(path.dropLast(name.count + 1))
            query.append(("fieldSelector", "metadata.name=\(name)"))
        }
        let response = try await client.open(collection, query: query, accept: tableForm)
        var lines = LineBuffer()
        var columns: JSON?
        do throws(HTTPError) {
            while let piece = try await response.next() {
                for line in lines.append(piece) {
                    guard let event = try? JSON.parse(line), var object = event["object"] else { continue }
                    if let given = object["columnDefinitions"], given.array?.isEmpty == false { columns = given }
                    object["columnDefinitions"] = columns
                    var table = TextTable(widths: widths)
                    table.append(
                        object, isWide: isWide, withNamespace: withNamespace && target.kind.isNamespaced,
                        withLabels: false)
                    Console.out(table.body)
                }
            }
        } catch {
            throw CommandError("the watch ended: \(error)")
        }
    }

    private static func objects(
        _ targets: [ObjectNames], _ client: KubernetesClient, _ namespace: String?, _ selector: String?,
        _ format: String, hasManagedFields: Bool
    ) async throws(CommandError) -> Int32 {
        var items: [(ResourceKind, JSON)] = []
        for target in targets {
            for path in paths(target, namespace) {
                let answer = try await client.call(.get, path, query: selector.map { [("labelSelector", $0)] } ?? [])
                guard answer.isSuccess else {
                    throw CommandError(
                        "Error from server (\(answer.json["reason"]?.string ?? "Unknown")): \(answer.message)")
                }
                if target.names.isEmpty {
                    for item in answer.json["items"]?.array ?? [] {
                        var item = item
                        // Items of a list do not say what they are.
                        item["apiVersion"] = .string(target.kind.apiVersion)
                        item["kind"] = .string(target.kind.kind)
                        items.append((target.kind, item))
                    }
                } else {
                    items.append((target.kind, answer.json))
                }
            }
        }
        // As kubectl: they are long, and of use to few.
        if !hasManagedFields {
            for index in items.indices where items[index].1["metadata"]?["managedFields"] != nil {
                items[index].1["metadata"]?["managedFields"] = nil
            }
        }
        let isSingle = items.count == 1 && targets.first?.names.count == 1
        let list: JSON = ["apiVersion": "v1", "kind": "List", "items": .array(items.map(\.1)), "metadata": [:]]
        switch format {
        case "json": Console.out((isSingle ? items[0].1 : list).pretty + "\n")
        case "yaml": Console.out(YAML.write(isSingle ? items[0].1 : list))
        default:
            for (kind, item) in items { Console.out("\(kind.qualifiedName)/\(KubernetesObject(json: item).name)\n") }
        }
        return 0
    }
}

/// Cuts a stream of bytes into lines.
struct LineBuffer {
    private var rest: [UInt8] = []

    /// The lines that the piece completes.
    mutating func append(_ piece: [UInt8]) -> [[UInt8]] {
        rest += piece
        var lines: [[UInt8]] = []
        while let end = rest.firstIndex(of: 0x0A) {
            lines.append(Array(rest[..<end]))
            rest.removeSubrange(...end)
        }
        return lines
    }
}
