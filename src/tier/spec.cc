#include "tier/spec.h"

#include <algorithm>

#include "base/strings.h"
#include "net/url.h"
#include "objects/http_store.h"
#include "objects/s3_store.h"
#include "oci/reference.h"

namespace varve::tier {

namespace {

enum class Direction { kFrom, kTo, kEither };

// What types there are, and those that BuildKit has and this version has not.
struct Type {
  std::string_view name;
  std::optional<Kind> kind;
  bool from = true, to = true;
};
constexpr Type kTypes[] = {
    {"local", Kind::kLocal},
    {"registry", Kind::kRegistry},
    {"s3", Kind::kS3},
    {"http", Kind::kHttp},
    {"gha", Kind::kGha},
    {"inline", Kind::kInline, false, true},
    {"image", Kind::kRegistry, true, false},
    {"azblob", {}},
};

constexpr unsigned Bit(Kind kind) { return 1u << static_cast<unsigned>(kind); }
constexpr unsigned kLocal = Bit(Kind::kLocal), kRegistry = Bit(Kind::kRegistry), kS3 = Bit(Kind::kS3),
                   kHttp = Bit(Kind::kHttp), kGha = Bit(Kind::kGha), kStores = kS3 | kHttp, kAny = ~0u,
                   kPlaces = kAny & ~Bit(Kind::kInline);  // all but what is inside an image

// The options, with the types that take them, reading and writing.
struct Key {
  std::string_view name;
  unsigned from, to;
};
constexpr Key kKeys[] = {
    {"type", kAny, kAny},
    {"src", kLocal, 0},
    {"dest", 0, kLocal},
    {"tag", kLocal, kLocal},
    {"digest", kLocal, 0},
    {"ref", kRegistry, kRegistry},
    {"registry.insecure", kRegistry, kRegistry},
    {"bucket", kS3, kS3},
    {"region", kS3, kS3},
    {"prefix", kS3, kS3},
    {"manifests_prefix", kS3, kS3},
    {"blobs_prefix", kS3, kS3},
    {"name", kS3, kS3},
    {"touch_refresh", kS3, kS3},
    {"endpoint_url", kS3, kS3},
    {"use_path_style", kS3, kS3},
    {"access_key_id", kS3, kS3},
    {"secret_access_key", kS3, kS3},
    {"session_token", kS3, kS3},
    {"profile", kS3, kS3},
    {"upload_parallelism", kS3, kS3},
    {"retry_max_attempts", kS3, kS3},
    {"retry_mode", kS3, kS3},
    {"disable_accept_encoding", kS3, kS3},
    {"scope", kGha, kGha},
    {"url", kHttp | kGha, kHttp | kGha},
    {"url_v2", kGha, kGha},
    {"version", kGha, kGha},
    {"repository", kGha, kGha},
    {"ghtoken", kGha, kGha},
    {"username", kHttp, kHttp},
    {"password", kHttp, kHttp},
    {"token", kHttp | kGha, kHttp | kGha},
    {"header", kHttp, kHttp},
    {"layout", kHttp, kHttp},
    {"ca", kStores, kStores},
    {"insecure", kStores, kStores},
    {"trust", kPlaces, 0},
    {"verify-key", kPlaces, 0},
    {"sign-key", 0, kPlaces},
    {"timeout", kPlaces, kPlaces},
    {"mode", 0, kAny},
    {"ignore-error", 0, kAny},
    {"compression", 0, kPlaces},
    {"compression-level", 0, kPlaces},
    {"force-compression", 0, kPlaces},
    {"image-manifest", 0, kPlaces},
    {"oci-mediatypes", 0, kPlaces},
    {"reset", 0, kLocal},
    {"max-size", 0, kPlaces},
    {"format", 0, kPlaces},
    {"mounts", kPlaces, kPlaces},
    {"mounts-max-size", 0, kPlaces},
    {"max-export", 0, kPlaces},
    {"max-time", 0, kPlaces},
};

// GitHub's keys have 512 bytes; a scope may take three in a key for one of its own.
constexpr size_t kMaxScope = 128;

std::string_view FlagOf(Direction direction) {
  return direction == Direction::kFrom ? "--cache-from" : direction == Direction::kTo ? "--cache-to" : "--tier";
}

Result<bool> BoolOf(const std::string& key, const std::string& text) {
  if (auto value = ParseBool(text)) return *value;
  return Invalid("invalid value \"{}\" of cache option {}: true or false expected", text, key);
}

// Go's form with one unit ("500ms", "30s", "10m"), or seconds.
Result<Nanos> DurationOf(const std::string& key, const std::string& text) {
  size_t end = text.find_first_not_of("0123456789");
  auto number = ParseInt(text.substr(0, end));
  std::string unit = end == text.npos ? "s" : text.substr(end);
  int64_t scale = unit == "ms" ? 1'000'000 : unit == "s" ? 1'000'000'000 : unit == "m" ? 60'000'000'000 : 0;
  if (!number || *number <= 0 || *number > 86'400'000 || scale == 0) {
    return Invalid("invalid {} \"{}\": write it as 500ms, 20s or 2m", key, text);
  }
  return Nanos(*number * scale);
}

// true, false, or ids with ';' between them, since ',' parts options.
Result<MountChoice> MountsOf(const std::string& text) {
  if (auto all = ParseBool(text)) return MountChoice{.all = *all, .ids = {}};
  MountChoice choice;
  for (std::string_view id : Split(text, ';')) {
    if (id.empty()) return Invalid("invalid mounts \"{}\": write mounts=true, or ids as in mounts=npm;pip", text);
    choice.ids.emplace_back(id);
  }
  return choice;
}

Status Set(Spec& spec, const std::string& key, const std::string& text) {
  auto boolean = [&](bool* field) -> Status {
    TRY_ASSIGN(*field, BoolOf(key, text));
    return Ok();
  };
  if (key == "src" || key == "dest" || key == "ref") {
    spec.place = text;
  } else if (key == "tag") {
    spec.tag = text;
  } else if (key == "digest") {
    TRY_ASSIGN(spec.digest, Digest::Parse(text));
  } else if (key == "registry.insecure") {
    return boolean(&spec.insecure);
  } else if (key == "timeout") {
    TRY_ASSIGN(spec.timeout, DurationOf(key, text));
    spec.retry_budget = spec.timeout;
  } else if (key == "ignore-error") {
    return boolean(&spec.ignore_error);
  } else if (key == "force-compression") {
    return boolean(&spec.force_compression);
  } else if (key == "reset") {
    return boolean(&spec.reset);
  } else if (key == "mode") {
    // BuildKit takes what it does not know for min.
    if (text == "min") spec.mode = Mode::kMin;
    else if (text == "max") spec.mode = Mode::kMax;
    else if (text == "auto") spec.mode = Mode::kAuto;
    else return Invalid("invalid cache mode \"{}\": use min, max or auto", text);
  } else if (key == "trust") {
    spec.trusted = text != "none";
    if (text == "all" || text == "own" || text == "none") return Ok();
    auto image_trust = ParseImageTrust(text);
    if (!image_trust) {
      return Invalid("invalid trust \"{}\": use all, own or none, of images content or history", text);
    }
    spec.image_trust = *image_trust;
  } else if (key == "verify-key" || key == "sign-key") {
    // An unset variable of a script must not turn verification off.
    if (text.empty()) return Invalid("cache option {} is empty: a file, or env:NAME, expected", key);
    (key == "sign-key" ? spec.sign_key : spec.verify_key) = text;
  } else if (key == "max-size") {
    TRY_ASSIGN(spec.max_size, ParseRamBytes(text));
  } else if (key == "mounts-max-size") {
    TRY_ASSIGN(spec.mounts_max_size, ParseRamBytes(text));
  } else if (key == "mounts") {
    TRY_ASSIGN(spec.mounts, MountsOf(text));
  } else if (key == "format") {
    if (text != "layers" && text != "chunked") {
      return Invalid("invalid cache format \"{}\": use layers or chunked", text);
    }
    spec.chunked = text == "chunked";
  } else if (key == "max-export") {
    TRY_ASSIGN(spec.max_export, ParseRamBytes(text));
  } else if (key == "max-time") {
    TRY_ASSIGN(spec.max_time, DurationOf(key, text));
  } else if (key == "compression") {
    if (text == "zstd") spec.compression = archive::Compression::kZstd;
    else if (text == "gzip") spec.compression = archive::Compression::kGzip;
    else if (text == "uncompressed") spec.compression = archive::Compression::kNone;
    else return Invalid("invalid cache compression \"{}\": use zstd, gzip or uncompressed", text);
  } else if (key == "compression-level") {
    auto level = ParseInt(text);
    if (!level || *level < 0 || *level > 22) return Invalid("invalid compression-level \"{}\"", text);
    spec.compression_level = static_cast<int>(*level);
  } else if (key == "name") {
    spec.names = Split(text, ';');
    for (const std::string& name : spec.names) {
      if (name.empty()) return Invalid("invalid cache name \"{}\": one of its parts is empty", text);
    }
  } else if (key == "manifests_prefix") {
    spec.manifests_prefix = text;
  } else if (key == "blobs_prefix") {
    spec.blobs_prefix = text;
  } else if (key == "touch_refresh") {
    auto time = ParseGoDuration(text);
    if (!time || *time < Nanos(0)) {
      return Invalid("invalid touch_refresh \"{}\": write it as 10m or 24h", text);
    }
    spec.touch_refresh = *time;
  } else if (key == "image-manifest" || key == "oci-mediatypes") {
    // The form of BuildKit's caches; varve's are an index of manifests, in OCI's media types, in any case.
    TRY(BoolOf(key, text));
  } else if (key == "layout") {
    if (text != "plain" && text != "bazel") return Invalid("invalid layout \"{}\": use plain or bazel", text);
    spec.store.insert_or_assign(key, text);
  } else if (key == "header") {
    std::string& headers = spec.store[key];  // may be given several times
    headers += (headers.empty() ? "" : "\n") + text;
  } else if (key != "type") {
    spec.store.insert_or_assign(key, text);
  }
  return Ok();
}

Status CheckKey(Direction direction, Kind kind, const std::string& type, const std::string& key) {
  std::vector<std::string_view> names;
  for (const Key& known : kKeys) {
    unsigned types = (direction != Direction::kTo ? known.from : 0) | (direction != Direction::kFrom ? known.to : 0);
    bool fits = types & Bit(kind);
    if (fits && known.name == key) return Ok();
    if (fits) names.push_back(known.name);
  }
  Error error = Invalid("unknown option \"{}\" of {} type={}", key, FlagOf(direction), type);
  if (auto near = NearestWord(key, names)) error.hint = fmt::format("did you mean {}?", *near);
  return error;
}

Status CheckLevel(const Spec& spec) {
  if (spec.chunked && spec.compression != archive::Compression::kZstd) {
    Error error = Invalid("format=chunked packs with zstd alone");
    error.hint = "leave out compression=…, or use format=layers";
    return error;
  }
  if (!spec.compression_level) return Ok();
  int level = *spec.compression_level;
  bool good = spec.compression == archive::Compression::kZstd ? level >= 1 && level <= 22 : level <= 9;
  if (good) return Ok();
  return Invalid("compression-level {} does not exist: gzip has 0 to 9, zstd 1 to 22", level);
}

// trust=own says whose records count, and verify-key who that is: neither means anything without the
// other, but that a key alone is clear enough.
Status CheckTrust(const Spec& spec, std::string_view trust) {
  if (trust == "own" && spec.verify_key.empty()) {
    Error error = Invalid("trust=own needs verify-key=FILE, the public key that signs what may be used");
    error.hint = "varve cache key generate makes a pair; --cache-to signs with sign-key=FILE";
    return error;
  }
  if (!trust.empty() && trust != "own" && !spec.verify_key.empty()) {
    return Invalid("verify-key is for trust=own, not for trust={}", trust);
  }
  return Ok();
}

Result<Spec> Registry(Direction direction, std::string reference) {
  auto parsed = oci::ParseReference(reference);
  if (!parsed) {
    return Invalid("invalid reference \"{}\" in {}: {}", reference, FlagOf(direction), parsed.error().message);
  }
  return Spec{.kind = Kind::kRegistry, .place = std::move(reference), .local_images = direction == Direction::kFrom};
}

bool IsFor(Direction direction, const Type& type) {
  return type.kind && (direction == Direction::kFrom ? type.from : type.to);
}

// "type=local or type=registry"
std::string KnownTypes(Direction direction) {
  std::vector<std::string> names;
  for (const Type& type : kTypes) {
    if (IsFor(direction, type)) names.push_back(fmt::format("type={}", type.name));
  }
  std::string last = std::move(names.back());
  names.pop_back();
  return Join(names, ", ") + " or " + last;
}

Result<Kind> KindOf(Direction direction, const std::string& name) {
  auto type = std::ranges::find(kTypes, name, &Type::name);
  if (type != std::end(kTypes) && IsFor(direction, *type)) return *type->kind;
  if (type != std::end(kTypes) && type->kind) {
    Error error = Invalid("{} has no type={}", FlagOf(direction), name);
    error.hint = name == "inline" ? "an image's inline cache is read with type=registry,ref=IMAGE"
                                  : "use " + KnownTypes(direction);
    return error;
  }
  Error error = type == std::end(kTypes)
                    ? Invalid("unknown type \"{}\" in {}", name, FlagOf(direction))
                    : Invalid("{} type={} is not supported by this version of varve", FlagOf(direction), name);
  error.hint = "use " + KnownTypes(direction);
  return error;
}

// Where the cache is: each type has an option that says so.
Status CheckPlace(Direction direction, Spec& spec) {
  auto needs = [&](std::string_view type, std::string_view key) -> Status {
    if (!spec.place.empty()) return Ok();
    return Invalid("{} type={} needs {}=…", FlagOf(direction), type, key);
  };
  switch (spec.kind) {
    case Kind::kLocal:
      return needs("local", direction == Direction::kTo ? "dest" : "src");
    case Kind::kRegistry:
      TRY(needs("registry", "ref"));
      TRY(Registry(direction, spec.place));
      return Ok();
    case Kind::kS3: {
      // What is wrong is said before the build; the same is read again when the tier is opened.
      auto options = spec.store;
      TRY_ASSIGN(auto s3, objects::TakeS3Options(options, objects::ProcessEnvironment()));
      spec.place = s3.bucket + "/" + s3.prefix;
      return Ok();
    }
    case Kind::kHttp: {
      auto options = spec.store;
      TRY_ASSIGN(auto http, objects::TakeHttpOptions(options));
      TRY_ASSIGN(net::Url url, net::ParseUrl(http.url));
      url.user_info.clear();
      if (!url.query.empty()) return Invalid("the url of {} type=http has a query", FlagOf(direction));
      spec.place = url.String();
      return Ok();
    }
    case Kind::kGha: {
      auto scope = spec.store.find("scope"), version = spec.store.find("version");
      spec.place = scope == spec.store.end() ? "varve" : scope->second;
      TRY(needs("gha", "scope"));
      if (spec.place.size() > kMaxScope) {
        return Invalid("scope \"{}\" in {} is longer than {} bytes", spec.place, FlagOf(direction), kMaxScope);
      }
      if (version != spec.store.end() && version->second != "1" && version->second != "2") {
        return Invalid("invalid version \"{}\" of GitHub's cache: use 1 or 2", version->second);
      }
      return Ok();
    }
    case Kind::kInline:
      return Ok();
  }
  return Ok();
}

Result<std::vector<Spec>> Parse(Direction direction, std::string_view value) {
  TRY_ASSIGN(auto fields, ParseCsvRecord(value));
  std::vector<Spec> specs;
  if (value.find('=') == value.npos) {
    for (const std::string& field : fields) {
      TRY_ASSIGN(auto spec, Registry(direction, field));
      specs.push_back(std::move(spec));
    }
    return specs;
  }
  std::vector<std::pair<std::string, std::string>> options;
  std::string type, trust;
  for (const std::string& field : fields) {
    size_t eq = field.find('=');
    if (eq == field.npos) {
      return Invalid("invalid field \"{}\" in {}: key=value expected", field, FlagOf(direction));
    }
    options.emplace_back(ToLower(TrimSpace(std::string_view(field).substr(0, eq))), field.substr(eq + 1));
    if (options.back().first == "type") type = options.back().second;
    if (options.back().first == "trust") trust = options.back().second;
  }
  if (type.empty()) {
    Error error = Invalid("{} \"{}\" has no type", FlagOf(direction), value);
    error.hint = "write " + KnownTypes(direction);
    return error;
  }
  Spec spec;
  TRY_ASSIGN(spec.kind, KindOf(direction, type));
  spec.local_images = type == "image";
  for (const auto& [key, text] : options) {
    TRY(CheckKey(direction, spec.kind, type, key));
    TRY(Set(spec, key, text));
  }
  if (spec.kind == Kind::kInline) return std::vector{std::move(spec)};
  if (spec.kind != Kind::kRegistry && spec.image_trust) {
    return Invalid("trust=content and trust=history are for images: use all or none");
  }
  TRY(CheckPlace(direction, spec));
  TRY(CheckLevel(spec));
  TRY(CheckTrust(spec, trust));
  // To write, several names are one cache under all of them; to read, several caches in order.
  if (direction != Direction::kFrom || spec.names.size() < 2) return std::vector{std::move(spec)};
  for (const std::string& name : std::vector(spec.names)) {
    spec.names = {name};
    specs.push_back(spec);
  }
  return specs;
}

}  // namespace

bool MountChoice::Takes(const std::string& id) const { return all || std::ranges::find(ids, id) != ids.end(); }

std::string Spec::Name() const {
  if (kind == Kind::kInline) return "inline";
  if (kind == Kind::kHttp) return place;  // a URL, which says what it is
  auto type = std::ranges::find(kTypes, std::optional(kind), &Type::kind);
  std::string name = fmt::format("{}:{}", type->name, place);
  if (kind == Kind::kLocal && tag != "latest") name += ":" + tag;
  if (!names.empty()) name += ":" + Join(names, ";");
  return name;
}

Result<std::vector<Spec>> ParseCacheFrom(std::string_view value) { return Parse(Direction::kFrom, value); }

Result<std::vector<Spec>> ParseCacheTo(std::string_view value) { return Parse(Direction::kTo, value); }

Result<ImageTrust> ParseImageTrust(std::string_view value) {
  if (value == "content") return ImageTrust::kContent;
  if (value == "history") return ImageTrust::kHistory;
  return Invalid("invalid value \"{}\" of --cache-from-trust: use content or history", value);
}

Result<Spec> ParseTier(std::string_view value) {
  TRY_ASSIGN(auto specs, Parse(Direction::kEither, value));
  if (specs.size() != 1) return Invalid("--tier \"{}\" names {} caches: one expected", value, specs.size());
  if (specs[0].kind == Kind::kInline) return Invalid("type=inline is no place for --tier: it is a part of an image");
  return std::move(specs[0]);
}

Status CheckExports(const std::vector<Spec>& exports) {
  for (size_t i = 0; i < exports.size(); ++i) {
    if (exports[i].kind == Kind::kInline) continue;
    for (size_t j = 0; j < i; ++j) {
      if (exports[i].Name() == exports[j].Name()) {
        return Invalid("duplicate cache exports: {} is given twice", exports[i].Name());
      }
    }
  }
  return Ok();
}

}  // namespace varve::tier
