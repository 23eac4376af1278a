internal import IO
internal import Serialization
internal import Workloads

extension Command {
    private static func store(_ invocation: Invocation) -> ImageStore {
        ImageStore(
            directory: NodeLayout(dataDirectory: invocation.dataDirectory, runDirectory: invocation.runDirectory).images
        )
    }

    static let imageImport = Command(
        "image import", "NAME FILE", "Take an image from an archive",
        details: """
            FILE is what docker save wrote, an OCI layout as tar, or a root file system as tar; gzip is allowed. Pods that name the
            image find it at once; Skein need not run.
            """,
        flags: [.dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard invocation.operands.count == 2 else { throw CommandError.usage("image import", "needs NAME and FILE") }
        guard Environment.userID == 0 else {
            throw CommandError("skein image import: must be root: files keep their owners")
        }
        do throws(SystemError) {
            // The first import may come before the first skein up, which sets owner and mode.
            try File.makeDirectory(invocation.dataDirectory, mode: 0o710)
            try File.makeDirectory(invocation.dataDirectory + "/node", mode: 0o700)
        } catch {
            throw CommandError(error)
        }
        do throws(WorkloadError) {
            let now = WallClock.now
            let image = try store(invocation).importArchive(
                name: invocation.operands[0], file: invocation.operands[1],
                imported: Timestamp(seconds: now.seconds).secondsText)
            Console.out("image \(image.name) imported, \(image.layers.count) layers\n")
            return 0
        } catch {
            throw CommandError("skein image import: \(error.message)")
        }
    }

    static let imageList = Command(
        "image list", "", "Show imported images", flags: [.dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        let rows = store(invocation).images().map { [$0.name, "\($0.layers.count)", $0.imported] }
        guard !rows.isEmpty else {
            Console.error("No images in \(invocation.dataDirectory)\n")
            return 0
        }
        Console.out(TextTable(header: ["NAME", "LAYERS", "IMPORTED"], rows: rows).text)
        return 0
    }
}
