internal import HTTP
internal import IO
internal import Store

extension Command {
    static let backup = Command(
        "backup", "FILE", "Write everything that Skein keeps to one new file, also while it runs",
        details: """
            The file (mode 0600) holds all objects, the mesh's authority and all keys, that of the encrypted Secrets too: whoever has
            it has everything. skein restore puts it back, on this machine or another. Objects in etcd are backed up with
            etcdctl snapshot save.
            """,
        flags: [.dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard let path = invocation.operands.first, invocation.operands.count == 1 else {
            throw CommandError.usage("backup", "needs the name of a new file")
        }
        guard !File.exists(path) else { throw CommandError("skein backup: \(path) is there already; name a new file") }
        let control = invocation.dataDirectory + "/control"
        try onLoop { loop throws(CommandError) in
            if ControlPlaneProcess.running(runDirectory: invocation.runDirectory) != nil {
                try await fetch(to: path, runDirectory: invocation.runDirectory, on: loop)
            } else {
                guard File.exists(control + "/" + SQLiteBackup.databaseName) else {
                    throw CommandError("skein backup: there is nothing in \(control); say --data-dir DIR")
                }
                do throws(StoreError) {
                    let store = try await StoreSettings().open(
                        directory: control, on: loop, seconds: WallClock.now.seconds)
                    guard let sqlite = store as? SQLiteStore else { return }
                    try await SQLiteBackup.write(sqlite, directory: control, to: path)
                    await store.close()
                } catch {
                    throw CommandError("skein backup: \(error)")
                }
            }
        }
        Console.out("\(path): \((File.size(path) ?? 0) / 1024) KiB\n")
        return 0
    }

    private static func fetch(
        to path: String, runDirectory: String, on loop: EventLoop
    ) async throws(CommandError) {
        let client = KubernetesClient(runDirectory: runDirectory, on: loop)
        let response = try await client.open("/skein/v1/backup", query: [])
        let temporary = path + ".part"
        do {
            if File.exists(temporary) { try File.remove(temporary) }
            while let piece = try await response.next() { try File.append(temporary, piece, mode: 0o600) }
            // A body that was cut short is an error of `next`; a copy that is none is found out before it is needed.
            try SQLiteBackup.check(temporary)
            try File.append(temporary, [], sync: true)
            try File.rename(temporary, path)
            try File.syncDirectory(File.parent(of: path))
        } catch {
            try? File.remove(temporary)
            throw CommandError("skein backup: \(error)")
        }
    }

    static let restore = Command(
        "restore", "FILE", "Put back what skein backup wrote; Skein must not run",
        details: """
            The database that was there is kept beside the new one, as control/skein.db.before-restore-N. Resource versions go on
            above all that were ever given out: clients that watched are told to list anew, and nothing is mistaken for newer.
            """,
        flags: [.dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard let path = invocation.operands.first, invocation.operands.count == 1 else {
            throw CommandError.usage("restore", "needs the name of a file that skein backup wrote")
        }
        if ControlPlaneProcess.running(runDirectory: invocation.runDirectory) != nil {
            throw CommandError("skein restore: Skein runs in \(invocation.runDirectory); stop it first (skein down)")
        }
        do throws(StoreError) {
            let former = try SQLiteBackup.restore(
                path, to: invocation.dataDirectory + "/control",
                owner: Environment.userID == 0 ? ControlPlaneProcess.userID : nil)
            Console.out("restored \(path)\n")
            if let former { Console.out("the former database is \(former)\n") }
        } catch {
            throw CommandError("skein restore: \(error)")
        }
        return 0
    }
}
