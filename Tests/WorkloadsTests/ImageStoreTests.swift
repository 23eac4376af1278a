import IO
import Testing

@testable import Workloads

/// Archives made by the system's tar and python, so that the readers meet what others write.
@Suite struct ImageStoreTests {
    /// A folder that goes with the test.
    final class Folder {
        let path: String
        init() throws {
            path = "/tmp/skein-images-\(Environment.processID)-\(UInt32.random(in: 0...(.max)))"
            try File.makeDirectory(path)
        }
        deinit { try? File.removeTree(path) }
    }

    private func shell(_ script: String, in folder: String) throws {
        var command = Child.Command(["/bin/sh", "-ec", script])
        command.workingDirectory = folder
        let status = try Child(command).wait()
        try #require(status.isSuccess, "\(script): \(status)")
    }

    @Test(
        "a root file system is taken as one layer, with links, long names, modes and owners",
        arguments: ["gnu", "pax", "ustar"])
    func rootFileSystem(format: String) throws {
        let folder = try Folder()
        let long = String(repeating: "directory-name-of-some-length/", count: 5) + "file"
        try shell(
            """
            mkdir -p root/bin root/etc root/\(File.parent(of: long)); echo hello > root/bin/tool; chmod 4755 root/bin/tool
            ln root/bin/tool root/bin/same; ln -s tool root/bin/link; ln -s /etc/passwd root/etc/absolute; echo x > root/\(long)
            mkfifo root/pipe; tar --format=\(format) --owner=7 --group=8 -C root -czf root.tar.gz .
            """, in: folder.path)
        let store = ImageStore(directory: folder.path + "/store")
        let image = try store.importArchive(name: "base", file: folder.path + "/root.tar.gz", imported: "now")
        #expect(image.name == "base:latest")
        let layer = try #require(image.layers.first)
        #expect(try File.text(layer + "/bin/same") == "hello\n")
        #expect(try File.readLink(layer + "/bin/link") == "tool")
        #expect(try File.readLink(layer + "/etc/absolute") == "/etc/passwd")
        #expect(try File.text("\(layer)/\(long)") == "x\n")
        try shell(
            "test \"$(stat -c '%a %u %g %h' \(layer)/bin/tool)\" = '4755 7 8 2'; test -p \(layer)/pipe", in: folder.path
        )
        #expect(try store.image(named: "docker.io/library/base")?.root == .layers(image.layers))
        #expect(try store.image(named: "other") == nil)
    }

    @Test("no name and no link of an archive leads out of the layer")
    func escapes() throws {
        let folder = try Folder()
        try shell(
            """
            cat > make.py <<'END'
            import io, tarfile
            def add(archive, name, data=None, **more):
                info = tarfile.TarInfo(name)
                for key, value in more.items(): setattr(info, key, value)
                if data is not None: info.size = len(data)
                archive.addfile(info, io.BytesIO(data) if data is not None else None)
            with tarfile.open("a.tar", "w") as archive:
                add(archive, "out", type=tarfile.SYMTYPE, linkname="../../../..\(folder.path)/victim")
                add(archive, "out/file", b"bad")
                add(archive, "abs", type=tarfile.SYMTYPE, linkname="\(folder.path)/victim")
                add(archive, "abs/file", b"bad")
            with tarfile.open("c.tar", "w") as archive:
                add(archive, "usr/bin", type=tarfile.DIRTYPE, mode=0o755)
                add(archive, "bin", type=tarfile.SYMTYPE, linkname="/../../usr/bin")
                add(archive, "bin/tool", b"inside")
                add(archive, "/rooted", b"inside")
            with tarfile.open("b.tar", "w") as archive:
                add(archive, "../climb", b"bad")
            END
            mkdir victim; /usr/bin/python3 make.py
            """, in: folder.path)
        let store = ImageStore(directory: folder.path + "/store")
        // A link that leads out leads nowhere: it is resolved as if the layer were everything.
        #expect(throws: WorkloadError.self) {
            try store.importArchive(name: "a", file: folder.path + "/a.tar", imported: "now")
        }
        #expect(try File.list(folder.path + "/victim").isEmpty)
        let layer = try #require(
            try store.importArchive(name: "c", file: folder.path + "/c.tar", imported: "now").layers.first)
        #expect(try File.text(layer + "/rooted") == "inside")
        #expect(try File.text(layer + "/usr/bin/tool") == "inside")
        let error = #expect(throws: WorkloadError.self) {
            try store.importArchive(name: "b", file: folder.path + "/b.tar", imported: "now")
        }
        #expect(error?.message.contains("../climb") == true)
        #expect(!File.exists(folder.path + "/store/climb"))
        #expect(try store.image(named: "b") == nil)
    }

    @Test(
        "an archive that is cut short or is none is refused, at every place",
        arguments: [0, 1, 511, 513, 1024, 1500, 10_000])
    func damaged(length: Int) throws {
        let folder = try Folder()
        try shell(
            "head -c 20000 /dev/urandom > data; tar -cf whole.tar data; head -c \(length) whole.tar > cut.tar",
            in: folder.path)
        let store = ImageStore(directory: folder.path + "/store")
        if length == 0 {
            // An empty archive is an image with nothing in it, as `tar` sees it too.
            #expect(
                try store.importArchive(name: "cut", file: folder.path + "/cut.tar", imported: "now").layers.count == 1)
        } else {
            #expect(throws: WorkloadError.self) {
                try store.importArchive(name: "cut", file: folder.path + "/cut.tar", imported: "now")
            }
            #expect(try store.image(named: "cut") == nil)
        }
        #expect((try? File.list(folder.path + "/store").filter { $0.hasPrefix("import") })?.isEmpty == true)
    }

    @Test("whiteouts hide what lower layers have")
    func whiteouts() throws {
        let folder = try Folder()
        try shell(
            """
            mkdir -p a/dir a/all b/dir b/all; echo 1 > a/dir/gone; echo 2 > a/dir/stays; echo 3 > a/all/gone
            touch b/dir/.wh.gone b/all/.wh..wh..opq; echo 4 > b/all/new
            tar -C a -cf a.tar .; tar -C b -cf b.tar .
            """, in: folder.path)
        let store = ImageStore(directory: folder.path + "/store")
        let lower = try #require(
            try store.importArchive(name: "a", file: folder.path + "/a.tar", imported: "").layers.first)
        let upper = try #require(
            try store.importArchive(name: "b", file: folder.path + "/b.tar", imported: "").layers.first)
        try shell(
            """
            mkdir merged; unshare -m sh -ec 'mount -t overlay overlay -o lowerdir=\(upper):\(lower) merged
            test ! -e merged/dir/gone; test -e merged/dir/stays; test "$(ls merged/all)" = new'
            """, in: folder.path)
    }

    @Test("names of images never meet and never climb")
    func names() throws {
        let folder = try Folder()
        try shell("echo 1 > one; tar -cf one.tar one", in: folder.path)
        let store = ImageStore(directory: folder.path + "/store")
        for name in ["a/b", "a%2fb", "../../x", "a:1", "host:5000/a"] {
            _ = try store.importArchive(name: name, file: folder.path + "/one.tar", imported: "")
        }
        #expect(
            Set(store.images().map(\.name)) == [
                "a/b:latest", "a%2fb:latest", "../../x:latest", "a:1", "host:5000/a:latest",
            ])
    }
}
