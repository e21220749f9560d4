// The build graph: what is to be done, as values. It can say everything that BuildKit's LLB can
// (solver/pb/ops.proto), and nothing of where its parts come from: the Dockerfile front end lowers to
// it, and the engine never sees a Dockerfile.
//
// Steps are kept in topological order: a step's inputs have smaller indexes. Values are immutable
// once lowered; they are read by several threads.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/checksum.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/result.h"
#include "oci/platform.h"
#include "tree/selection.h"

namespace varve::graph {

using StepIndex = uint32_t;

// One output of a step. Most steps have exactly one, 0: the root file system that they made.
struct Ref {
  StepIndex step = 0;
  uint32_t output = 0;
  bool operator==(const Ref&) const = default;
};

// --- Sources ---------------------------------------------------------------------------------------

enum class ResolveMode { kDefault, kPull, kLocal };

struct ImageSource {
  std::string reference;  // normalised, with tag or digest
  ResolveMode resolve_mode = ResolveMode::kDefault;
  // LLB only:
  std::optional<Digest> checksum = {};       // what the tag must lead to: the index, or the only manifest
  std::optional<uint32_t> layer_limit = {};  // only the lowest layers; not 0
};

// A directory of the client: the build context or a named one. The pin is the tree of what the
// graph's selectors can reach in it.
struct LocalSource {
  std::string name;                  // "context", or a named context's name
  std::vector<std::string> exclude;  // ignore patterns (.dockerignore), already read
  std::vector<std::string> include;  // LLB only; empty: all
  std::string ignore_file;           // where `exclude` came from, for messages; may be empty
  // LLB only. Not part of the key: how the files get here.
  std::vector<std::string> follow_paths = {};  // what is wanted of it, with what symlinks lead to; empty: all
  std::string shared_key_hint = {};            // transfers with the same hint may build on each other
  std::string session = {};                    // of the client that has it; empty: of the build's own
  std::string unique_id = {};                  // of the build that named no session
  bool compare_nothing = false;                // the differ "none": all files are sent again
};

// A file that is a blob of a registry or of a client's content store. LLB only.
struct BlobSource {
  std::string repository;  // "registry.example.com/app"; of a content store, a name for people
  Digest digest;
  bool layout = false;  // in the content store of a client, `store`
  std::string store = {};
  std::string session = {};   // as of OciLayoutSource
  std::string filename = {};  // name of the file in the result; empty: the digest in hex
  uint32_t mode = 0600;
  uint32_t uid = 0;
  uint32_t gid = 0;
};

struct GitSource {
  std::string remote;  // URL without fragment
  std::string ref;     // branch, tag, commit, refs/…; empty: HEAD
  std::string subdir;
  std::string checksum;  // commit or prefix that must result
  bool keep_git_dir = false;
  bool submodules = true;
  bool commit_mtime = false;
  bool fetch_by_commit = false;
  std::string auth_token_secret = "GIT_AUTH_TOKEN";
  std::string auth_header_secret = "GIT_AUTH_HEADER";
  std::string ssh_id = "default";
  std::string known_hosts = {};  // text of a known_hosts file; empty: ssh's own. Not part of the key
  // LLB only:
  std::optional<BlobSource> bundle =
      {};                        // has the commits, instead of the remote; `checksum` says which. Not part of the key
  bool checkout_bundle = false;  // the result is one file, "bundle": the commit with its whole history
};

struct HttpSource {
  std::string url;
  std::string filename;  // name of the file in the result
  std::optional<Checksum> checksum;
  uint32_t mode = 0600;
  uint32_t uid = 0;
  uint32_t gid = 0;
  // Not part of the key: what the server is told. The body that it answers with is what counts.
  std::string auth_header_secret = {};  // id of a secret that is the Authorization header; empty: by host
  std::string accept = {};
  std::string user_agent = {};
};

struct OciLayoutSource {
  std::string path;       // directory on the client, or the id of a content store of it
  std::string reference;  // tag in its index.json; may be empty
  std::optional<Digest> digest;
  std::string session = {};                  // of the client that has the content store; empty: the build's own
  std::string name = {};                     // "docker.io/library/base": what people call it. Not part of the key
  std::optional<uint32_t> layer_limit = {};  // as of ImageSource
};

// --- Exec ------------------------------------------------------------------------------------------

enum class MountType { kBind, kCache, kTmpfs, kSecret, kSsh };
enum class CacheSharing { kShared, kPrivate, kLocked };
enum class NetworkMode { kDefault, kNone, kHost };
enum class SecurityMode { kSandbox, kInsecure };

struct Mount {
  MountType type = MountType::kBind;
  std::string target;  // absolute; "/" is the root mount
  int input = -1;      // index into Step::inputs; -1: scratch
  std::string source;  // path in the input; empty: its root
  bool readonly = false;
  int output = -1;  // which output of the step this mount's content becomes
  // kCache
  std::string cache_id;
  CacheSharing sharing = CacheSharing::kShared;
  // kTmpfs
  uint64_t tmpfs_size = 0;  // bytes; 0: unlimited
  // kSecret, kSsh
  std::string secret_id;
  bool required = false;
  std::string env_name;  // kSecret: also, or only (empty target), set as this variable
  // kCache without source, kSecret, kSsh
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mode = 0;
};

struct Ulimit {
  std::string name;
  int64_t soft = 0;
  int64_t hard = 0;
};

// A device by its CDI name, kind or class ("vendor.com/gpu=0").
struct Device {
  std::string name;
  bool required = false;  // not part of the key: a device that is missing is an error
  bool operator==(const Device&) const = default;
};

struct Exec {
  std::vector<std::string> args;
  std::vector<std::string> env;  // "K=V", in scope order, keys distinct
  std::string cwd = "/";
  std::string user;           // as written in USER
  std::vector<Mount> mounts;  // exactly one has target "/"
  NetworkMode network = NetworkMode::kDefault;
  SecurityMode security = SecurityMode::kSandbox;
  std::string hostname;                                          // empty: buildkitsandbox
  std::vector<std::pair<std::string, std::string>> extra_hosts;  // host, ip
  uint64_t shm_size = 0;                                         // bytes; 0: 64 MiB
  std::vector<Ulimit> ulimits;
  std::vector<Device> devices;
  std::vector<int> valid_exit_codes = {};  // that are no failure; empty: 0
  // Not part of the key:
  std::vector<std::string> proxy_env;            // HTTP_PROXY=…
  std::map<std::string, std::string> resources;  // memory, cpu-shares, … (reference cli.md --resource)
  std::string cgroup_parent;
};

// --- File actions ------------------------------------------------------------------------------------

// Owner of what an action makes. Names are looked up in /etc/passwd and /etc/group of the tree that is
// written on; nothing given means 0:0, and for a copy the source's owner.
struct Owner {
  std::string user;  // name or decimal id; empty: not given
  std::string group;
  int names_of = -1;  // look names up in this of Step::inputs; -1: as said above
  bool given() const { return !user.empty() || !group.empty(); }
};

struct Copy {
  int input = -1;  // index into Step::inputs
  tree::Selector from;
  std::string dest;  // absolute; a trailing slash means "into this directory"
  Owner owner;
  std::string mode;           // octal or symbolic; empty: keep
  bool contents_only = true;  // a directory's contents are copied, not itself
  bool create_dest_path = true;
  bool unpack = false;                      // ADD of a local archive: extract it if it is one
  bool follow_dest_links = true;            // COPY --link: false
  bool replace = false;                     // LLB alwaysReplaceExistingDestPaths
  std::vector<std::string> required = {};   // paths in the input that must exist, whatever patterns match
  std::optional<Timestamp> timestamp = {};  // modification time of all that is copied; nothing: kept
};

struct MakeFile {
  std::string path;  // its directory is there, as a symlink's
  std::string data;
  uint32_t mode = 0644;
  Owner owner;
  std::optional<Timestamp> timestamp = {};  // modification time; nothing: now
};

struct MakeDirectory {
  std::string path;
  uint32_t mode = 0755;
  bool make_parents = true;
  Owner owner;
  std::optional<Timestamp> timestamp = {};
};

struct Remove {
  std::string path;
  bool allow_wildcard = false;
  bool allow_not_found = false;
};

struct MakeSymlink {
  std::string target;
  std::string path;
  Owner owner;
  std::optional<Timestamp> timestamp = {};
};

using FileAction = std::variant<Copy, MakeFile, MakeDirectory, Remove, MakeSymlink>;

const Owner* OwnerOf(const FileAction& action);  // null: the action has none

// Applies the actions in order on Step::inputs[0] when `base` is 0, on scratch when it is -1.
struct FileOp {
  int base = -1;
  std::vector<FileAction> actions;
};

// Inputs composed as whole detached layer stacks, later ones on top (COPY --link).
struct Merge {};

// What changes inputs[0] into inputs[1]: layers that, on top of the first, give the second.
struct Diff {};

using Op = std::variant<ImageSource, LocalSource, GitSource, HttpSource, OciLayoutSource, BlobSource, Exec, FileOp,
                        Merge, Diff>;

// --- Steps -------------------------------------------------------------------------------------------

// Lines of the file that a step came from, for errors and explanations; 1-based, 0: none.
struct Location {
  std::string file;
  uint32_t first_line = 0;
  uint32_t last_line = 0;
};

struct Step {
  Op op;
  std::vector<Ref> inputs;
  oci::Platform platform;
  // For people and for explanations; not part of the key.
  std::string name;   // "[build 2/5] RUN make"
  std::string stage;  // stage that it belongs to; empty: internal
  std::string text;   // the instruction with variables expanded
  Location location;
  std::vector<std::string> arg_names;  // of the names in Exec::env: those that ARG declared
  // Policy; not part of the key.
  bool no_cache = false;      // run even when a record exists, then replace the record
  std::string no_cache_rule;  // who said so: "--no-cache", "--no-cache-filter=deps"
  bool no_trace = false;      // what it looks at is not noted, and no earlier run stands for it
  // Of a copy: package files among what it copies may count by what they install (engine/replay.h).
  bool semantic = false;
  // Of an exec: the package manager, "npm", whose installation of what package files list is all that it
  // does. Empty: it may read anything.
  std::string installs;
};

struct Graph {
  std::vector<Step> steps;

  StepIndex Add(Step step);  // CHECKs that inputs exist
  const Step& at(const Ref& ref) const { return steps[ref.step]; }
};

bool IsSource(const Op& op);
bool IsDirectory(const Op& op);         // a source that is files rather than layers
std::string_view OpName(const Op& op);  // "exec", "file", "image", …

// Reasons a graph cannot be built: a mount or base that points to no input, two root mounts, ….
Status Validate(const Graph& graph);

// The op as it enters the key preimage: everything that decides the result, nothing else. Inputs
// appear by position only; their identity is lineage and selections (engine/keys.h).
Json CanonicalOp(const Step& step);

// The whole graph, readable, for `varve build --call graph` and golden tests.
Json Dump(const Graph& graph);

}  // namespace varve::graph
