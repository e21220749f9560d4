#include "export/output.h"

#include <algorithm>

#include "base/strings.h"

namespace varve::exporter {

namespace {

struct TypeName {
  std::string_view name;
  OutputType type;
};
constexpr TypeName kTypes[] = {
    {"image", OutputType::kImage},        {"registry", OutputType::kImage}, {"oci", OutputType::kOci},
    {"docker", OutputType::kDocker},      {"local", OutputType::kLocal},    {"tar", OutputType::kTar},
    {"cacheonly", OutputType::kCacheOnly}};

constexpr std::string_view kKeys[] = {"type",
                                      "dest",
                                      "name",
                                      "push",
                                      "push-by-digest",
                                      "registry.insecure",
                                      "unpack",
                                      "store",
                                      "dangling-name-prefix",
                                      "name-canonical",
                                      "oci-mediatypes",
                                      "compression",
                                      "compression-level",
                                      "force-compression",
                                      "source-date-epoch",
                                      "rewrite-timestamp",
                                      "tar",
                                      "mode",
                                      "platform-split",
                                      "oci-artifact",
                                      "attestation-inline",
                                      "attestation-prefix",
                                      "prefer-nondist-layers",
                                      "danging-name-empty-only",
                                      "context"};

Result<bool> BoolOf(const std::string& key, const std::string& value) {
  if (value.empty()) return true;
  if (auto parsed = ParseBool(value)) return *parsed;
  return Invalid("invalid value \"{}\" of output attribute {}: true or false expected", value, key);
}

Status CheckAnnotationType(const std::string& type) {
  static constexpr std::string_view kAnnotationTypes[] = {"manifest", "index", "manifest-descriptor",
                                                          "index-descriptor"};
  if (std::ranges::find(kAnnotationTypes, type) != std::end(kAnnotationTypes)) return Ok();
  return Invalid(
      "unknown annotation type \"{}\": use manifest, index, manifest-descriptor or "
      "index-descriptor",
      type);
}

Status SetCompression(Output& output, const std::string& value) {
  if (value == "gzip") {
    output.compression = LayerCompression::kGzip;
  } else if (value == "zstd") {
    output.compression = LayerCompression::kZstd;
  } else if (value == "uncompressed") {
    output.compression = LayerCompression::kNone;
  } else {
    Error error = Invalid("unsupported compression \"{}\"", value);
    error.hint = "use gzip, zstd or uncompressed";
    return error;
  }
  return Ok();
}

Status SetInt(const std::string& key, const std::string& value, int64_t low, int64_t high, int64_t* out) {
  auto number = ParseInt(value);
  if (!number || *number < low || *number > high) {
    return Invalid("invalid value \"{}\" of output attribute {}", value, key);
  }
  *out = *number;
  return Ok();
}

Status SetAttribute(Output& output, const std::string& key, const std::string& value) {
  auto set_bool = [&](bool* field) -> Status {
    TRY_ASSIGN(*field, BoolOf(key, value));
    return Ok();
  };
  bool ignored = false;
  if (key == "dest") {
    output.dest = value;
  } else if (key == "name") {
    for (const std::string& name : Split(value, ',')) {
      if (!name.empty()) output.names.push_back(name);
    }
  } else if (key == "push") {
    return set_bool(&output.push);
  } else if (key == "push-by-digest") {
    return set_bool(&output.push_by_digest);
  } else if (key == "registry.insecure") {
    return set_bool(&output.insecure_registry);
  } else if (key == "store") {
    return set_bool(&output.store);
  } else if (key == "name-canonical") {
    return set_bool(&output.name_canonical);
  } else if (key == "dangling-name-prefix") {
    output.dangling_name_prefix = value;
  } else if (key == "oci-mediatypes") {
    return set_bool(&output.oci_media_types);
  } else if (key == "force-compression") {
    return set_bool(&output.force_compression);
  } else if (key == "rewrite-timestamp") {
    bool rewrite = false;
    TRY(set_bool(&rewrite));
    output.timestamps = rewrite ? Timestamps::kClamp : Timestamps::kKeep;
    return Ok();
  } else if (key == "tar") {
    return set_bool(&output.tar);
  } else if (key == "compression") {
    return SetCompression(output, value);
  } else if (key == "compression-level") {
    int64_t level = 0;
    TRY(SetInt(key, value, -1, 22, &level));
    if (level >= 0) output.compression_level = static_cast<int>(level);
  } else if (key == "source-date-epoch") {
    output.no_epoch = value.empty();
    if (value.empty()) return Ok();
    int64_t epoch = 0;
    TRY(SetInt(key, value, 0, INT64_MAX / 2, &epoch));
    output.source_date_epoch = epoch;
  } else if (key == "mode") {
    if (value != "copy" && value != "delete") {
      return Invalid("invalid mode \"{}\" of a local output: copy or delete expected", value);
    }
    output.delete_extra = value == "delete";
  } else if (key == "platform-split") {
    TRY_ASSIGN(output.platform_split, BoolOf(key, value));
  } else if (key == "oci-artifact") {
    TRY_ASSIGN(output.oci_artifact, BoolOf(key, value));
  } else if (key == "attestation-inline") {
    TRY_ASSIGN(output.attestation_inline, BoolOf(key, value));
  } else if (key == "attestation-prefix") {
    if (value.find('/') != std::string::npos) return Invalid("attestation-prefix \"{}\" has a slash", value);
    output.attestation_prefix = value;
  } else if (key == "unpack" || key == "prefer-nondist-layers" || key == "danging-name-empty-only") {
    // About a worker's image store, which a build here does not have.
    return set_bool(&ignored);
  } else if (key != "context") {
    auto near = NearestWord(key, kKeys);
    Error error = Invalid("unknown output attribute \"{}\"", key);
    if (near) error.hint = fmt::format("did you mean {}?", *near);
    return error;
  }
  return Ok();
}

Status CheckDest(const Output& output, bool stdout_is_console) {
  bool archive = output.type == OutputType::kTar || output.type == OutputType::kOci ||
                 (output.type == OutputType::kDocker && !output.load);
  if (output.type == OutputType::kLocal && output.dest.empty()) {
    return Invalid("a local output needs dest=DIRECTORY");
  }
  bool to_stdout = archive && (output.dest.empty() || output.dest == "-");
  if (to_stdout && !output.tar) {
    return Invalid("tar=false needs dest=DIRECTORY: a directory cannot go to stdout");
  }
  if (to_stdout && stdout_is_console) {
    Error error = Invalid("a {} output would be written to the terminal", OutputTypeName(output.type));
    error.hint = "pass dest=FILE, or redirect stdout";
    return error;
  }
  return Ok();
}

}  // namespace

Result<std::optional<Output::Annotation>> ParseAnnotationKey(const std::string& key, const std::string& value) {
  if (!key.starts_with("annotation")) return std::optional<Output::Annotation>();
  std::string_view rest = std::string_view(key).substr(10);
  Output::Annotation annotation{.type = "manifest", .value = value};
  auto bad = [&] { return Invalid("invalid annotation attribute \"{}\"", key); };
  if (rest.starts_with('-')) {
    size_t end = rest.find_first_of("[.");
    if (end == rest.npos) return bad();
    annotation.type = rest.substr(1, end - 1);
    rest.remove_prefix(end);
  }
  if (rest.starts_with('[')) {
    size_t end = rest.find(']');
    if (end == rest.npos) return bad();
    annotation.platform = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
  }
  if (!rest.starts_with('.') || rest.size() < 2) return bad();
  annotation.key = rest.substr(1);
  TRY(CheckAnnotationType(annotation.type));
  return std::optional<Output::Annotation>(std::move(annotation));
}

std::string_view OutputTypeName(OutputType type) {
  switch (type) {
    case OutputType::kImage:
      return "image";
    case OutputType::kOci:
      return "oci";
    case OutputType::kDocker:
      return "docker";
    case OutputType::kLocal:
      return "local";
    case OutputType::kTar:
      return "tar";
    case OutputType::kCacheOnly:
      return "cacheonly";
  }
  return "cacheonly";
}

Result<Output> ParseOutput(std::string_view value, bool stdout_is_console) {
  Output output;
  TRY_ASSIGN(auto fields, ParseCsvRecord(value));
  if (fields.size() == 1 && !fields[0].starts_with("type=")) {
    output.type = fields[0] == "-" ? OutputType::kTar : OutputType::kLocal;
    output.dest = fields[0];
    TRY(CheckDest(output, stdout_is_console));
    return output;
  }
  std::string type;
  for (const std::string& field : fields) {
    size_t eq = field.find('=');
    if (eq == field.npos) return Invalid("invalid output \"{}\": key=value expected", field);
    std::string key = ToLower(TrimSpace(std::string_view(field).substr(0, eq)));
    std::string text = field.substr(eq + 1);
    if (key == "type") {
      type = text;
      continue;
    }
    // Annotation keys keep their case.
    TRY_ASSIGN(auto annotation, ParseAnnotationKey(field.substr(0, eq), text));
    if (annotation) {
      output.annotations.push_back(std::move(*annotation));
      continue;
    }
    TRY(SetAttribute(output, key, text));
  }
  if (type.empty()) return Invalid("output \"{}\" has no type", value);
  auto known = std::ranges::find(kTypes, std::string_view(type), &TypeName::name);
  if (known == std::end(kTypes)) {
    std::vector<std::string_view> names;
    for (const TypeName& t : kTypes) names.push_back(t.name);
    auto near = NearestWord(type, names);
    Error error = Invalid("unknown output type \"{}\"", type);
    error.hint =
        near ? fmt::format("did you mean {}?", *near) : "use image, oci, docker, local, tar, registry or cacheonly";
    return error;
  }
  output.type = known->type;
  if (type == "registry") output.push = true;
  if (output.type == OutputType::kDocker && output.dest.empty()) output.load = true;
  TRY(CheckDest(output, stdout_is_console));
  return output;
}

Result<std::vector<Output::Annotation>> ParseAnnotation(std::string_view value) {
  size_t eq = value.find('=');
  if (eq == value.npos || eq == 0) {
    return Invalid("invalid annotation \"{}\": [TYPE:]KEY=VALUE expected", value);
  }
  std::string key(value.substr(0, eq)), text(value.substr(eq + 1));
  std::vector<Output::Annotation> annotations;
  size_t colon = key.find(':');
  std::string types = colon == key.npos ? "manifest" : key.substr(0, colon);
  if (colon != key.npos) key = key.substr(colon + 1);
  if (key.empty()) return Invalid("annotation \"{}\" has no key", value);
  for (std::string type : Split(types, ',')) {
    Output::Annotation annotation{.key = key, .value = text};
    if (size_t open = type.find('['); open != type.npos && type.ends_with(']')) {
      annotation.platform = type.substr(open + 1, type.size() - open - 2);
      type.resize(open);
    }
    TRY(CheckAnnotationType(type));
    annotation.type = type;
    annotations.push_back(std::move(annotation));
  }
  return annotations;
}

}  // namespace varve::exporter
