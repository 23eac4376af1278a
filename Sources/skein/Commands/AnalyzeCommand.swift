internal import IO
internal import KubernetesAPI
internal import Mesh
internal import Serialization

extension Command {
    private static let analyzed = Flag(
        "filename", short: "f", value: "FILE|DIR", "YAML or JSON to analyse; - is standard input; may be repeated")
    private static let recursive = Flag("recursive", short: "R", "look into the directories of a directory, too")
    private static let live = Flag("live", "analyse the objects of the running Skein")
    private static let useLive = Flag("use-live", "analyse the files as if they were applied to the running Skein")
    private static let place = Flag(
        "namespace", short: "n", value: "NAME",
        "report this namespace (with --live; default \"default\"), or use it where a file names none")
    private static let format = Flag("output", short: "o", value: "FORMAT", "text, json or yaml")
    private static let suppress = Flag(
        "suppress", short: "S", value: "CODE=KIND NAME.NS",
        "leave a finding out; * stands for any text; may be repeated")
    private static let failure = Flag(
        "failure-threshold", value: "LEVEL", "exit with 1 from this severity on: info, warning or error (the default)")
    private static let shown = Flag(
        "output-threshold", value: "LEVEL", "show findings from this severity on: info (the default), warning or error")
    private static let ignoreUnknown = Flag(
        "ignore-unknown", "leave out documents that are no Kubernetes object or of an unknown kind")
    private static let codes = Flag("list-codes", short: "L", "list all codes")

    static let analyze = Command(
        "analyze", "", "Find configuration that is dead, conflicting or wrong",
        details: """
            Files are analysed together, without the running Skein unless --use-live; --live analyses what it has. Nothing is
            written. Each finding has a code (docs/analysis has a page for each), a severity, the object, the field, the line
            of the file, and what to do. An object keeps its own findings quiet with the annotation
            skein.dev/analyze-suppress: CODE,CODE (or *).

            Exit status: 0 nothing as severe as --failure-threshold; 1 there is; 2 it could not be analysed (usage, a file
            that is no YAML or holds an unknown kind, no answer from the API).
            """,
        flags: [
            analyzed, recursive, live, useLive, place, .allNamespaces, format, suppress, failure, shown, ignoreUnknown,
            codes,
            .runDirectory,
        ]
    ) { invocation throws(CommandError) in
        let form = invocation.value(format) ?? "text"
        guard ["text", "json", "yaml"].contains(form) else {
            throw CommandError.usage("analyze", "-o \(form): text, json and yaml are known")
        }
        if invocation.has(codes) {
            Console.out(AnalysisText.codes(form))
            return 0
        }
        return try analyze(invocation, form)
    }

    private static func analyze(_ invocation: Invocation, _ form: String) throws(CommandError) -> Int32 {
        let paths = invocation.all(analyzed)
        guard paths.isEmpty == invocation.has(live), invocation.operands.isEmpty else {
            throw CommandError.usage("analyze", "either -f FILE (with --use-live beside what runs) or --live is needed")
        }
        let quiet = try suppressions(invocation)
        let fails = try level(invocation, failure, .error)
        let shows = try level(invocation, shown, .info)
        var reading = AnalyzedObject.Reading(
            namespace: invocation.value(place) ?? "default", isRecursive: invocation.has(recursive))
        if invocation.has(ignoreUnknown) { reading.leaveOut = { Console.error("left out: \($0)\n") } }
        let files = paths.isEmpty ? [] : try AnalyzedObject.load(paths, reading)
        var cluster: [AnalyzedObject] = []
        if invocation.has(live) || invocation.has(useLive) {
            cluster = try onLoop { loop throws(CommandError) in
                try await AnalyzedObject.live(KubernetesClient(runDirectory: invocation.runDirectory, on: loop))
            }
        }
        let objects = paths.isEmpty ? cluster : files
        let others = paths.isEmpty ? [] : cluster.map(\.object)
        let isWhole = !paths.isEmpty || invocation.has(.allNamespaces)
        let namespaces = isWhole ? nil : Set([invocation.value(place) ?? "default", ""])
        var found: [LocatedFinding] = []
        for finding in MeshAnalysis(objects.map(\.object), beside: others).run().findings
        where objects.indices.contains(finding.index) {
            let (diagnostic, source) = (finding.diagnostic, objects[finding.index])
            if quiet.contains(where: { $0.covers(diagnostic) }) { continue }
            if Suppression.isSuppressed(diagnostic, by: source.object) { continue }
            if let namespaces, !namespaces.contains(diagnostic.object.namespace) { continue }
            found.append(LocatedFinding(diagnostic, source))
        }
        Console.out(AnalysisText.text(found.filter { $0.diagnostic.severity >= shows }, form, objects: objects.count))
        return found.contains { $0.diagnostic.severity >= fails } ? 1 : 0
    }

    private static func suppressions(_ invocation: Invocation) throws(CommandError) -> [Suppression] {
        var found: [Suppression] = []
        for text in invocation.all(suppress) {
            guard let suppression = Suppression(text) else {
                throw CommandError.usage(
                    "analyze", "--suppress \"\(text)\": not CODE=KIND NAME.NAMESPACE with a known code")
            }
            found.append(suppression)
        }
        return found
    }

    private static func level(
        _ invocation: Invocation, _ flag: Flag, _ usual: Diagnostic.Severity
    ) throws(CommandError) -> Diagnostic.Severity {
        guard let text = invocation.value(flag) else { return usual }
        guard let level = Diagnostic.Severity(rawValue: text.lowercased()) else {
            throw CommandError.usage("analyze", "--\(flag.name) \(text): info, warning and error are known")
        }
        return level
    }
}

/// A finding with where its object stands.
struct LocatedFinding: Sendable {
    let diagnostic: Diagnostic
    let place: AnalyzedObject
    let line: Int?

    init(_ diagnostic: Diagnostic, _ place: AnalyzedObject) {
        self.diagnostic = diagnostic
        self.place = place
        line = place.line(of: diagnostic.field)
    }

    var json: JSON {
        var members: JSON = [
            "code": .string(diagnostic.code.id), "severity": .string(diagnostic.severity.rawValue),
            "title": .string(diagnostic.code.title), "apiVersion": .string(place.object.apiVersion),
            "kind": .string(diagnostic.kind), "name": .string(diagnostic.object.name),
            "field": .string(diagnostic.field), "message": .string(diagnostic.message),
            "advice": .string(diagnostic.code.advice), "page": .string(diagnostic.code.page),
        ]
        if !diagnostic.object.namespace.isEmpty { members["namespace"] = .string(diagnostic.object.namespace) }
        if let file = place.file { members["file"] = .string(file) }
        if let line { members["line"] = .integer(Int64(line)) }
        let istio = diagnostic.code.istioCodes
        if !istio.isEmpty { members["istioCodes"] = .array(istio.map { .string($0) }) }
        return members
    }

    /// Two lines: what compilers print, and what to do.
    var text: String {
        let position = place.file.map { "\($0):\(line ?? 1): " } ?? ""
        let object = diagnostic.object
        let plain = object.name.isEmpty ? "without a name" : object.name
        let name = object.namespace.isEmpty ? plain : "\(object.namespace)/\(plain)"
        return "\(position)\(diagnostic.severity) \(diagnostic.code.id): \(diagnostic.kind) \(name): "
            + "\(diagnostic.field): \(diagnostic.message)\n    \(diagnostic.code.advice)\n"
    }
}

/// What `skein analyze` prints.
enum AnalysisText {
    static func text(_ findings: [LocatedFinding], _ form: String, objects: Int) -> String {
        let all = JSON.array(findings.map(\.json))
        switch form {
        case "json": return all.pretty + "\n"
        case "yaml": return YAML.write(all)
        default:
            let things = "\(objects) object\(objects == 1 ? "" : "s")"
            if findings.isEmpty { return "No findings in \(things).\n" }
            let counts = Diagnostic.Severity.allCases.reversed().compactMap { severity -> String? in
                let count = findings.count { $0.diagnostic.severity == severity }
                return count == 0 ? nil : "\(count) \(severity)\(count == 1 ? "" : "s")"
            }
            return findings.map(\.text).joined() + "\(counts.joined(separator: ", ")) in \(things).\n"
        }
    }

    static func codes(_ form: String) -> String {
        let all = DiagnosticCode.allCases
        if form == "text" {
            return TextTable(
                header: ["CODE", "SEVERITY", "ISTIO", "TITLE"],
                rows: all.map { [$0.id, $0.severity.rawValue, $0.istioCodes.joined(separator: " "), $0.title] }
            ).text
        }
        let list = JSON.array(
            all.map { code in
                [
                    "code": .string(code.id), "severity": .string(code.severity.rawValue),
                    "istioCodes": .array(code.istioCodes.map { .string($0) }), "title": .string(code.title),
                    "advice": .string(code.advice), "page": .string(code.page),
                ]
            })
        return form == "json" ? list.pretty + "\n" : YAML.write(list)
    }
}
