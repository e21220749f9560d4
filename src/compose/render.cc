#include "compose/render.h"

#include <algorithm>

#include "base/yaml.h"

namespace varve::compose {

namespace {

// Characters that YAML takes for line breaks or does not take at all, as escapes: U+007F to U+009F,
// U+2028, U+2029, U+FEFF, U+FFFE and U+FFFF. JSON leaves them as they are.
std::string Quoted(const std::string& text) {
  const std::string json = Json(text).Dump();
  std::string out;
  for (size_t i = 0; i < json.size(); ++i) {
    const std::string_view rest = std::string_view(json).substr(i);
    auto byte = [&](size_t at) { return static_cast<unsigned char>(rest[at]); };
    if (byte(0) == 0x7f) {
      out += "\\u007f";
    } else if (byte(0) == 0xc2 && rest.size() > 1 && byte(1) < 0xa0) {
      out += fmt::format("\\u00{:02x}", byte(1));
      i += 1;
    } else if (rest.starts_with("\u2028") || rest.starts_with("\u2029")) {
      out += byte(2) == 0xa8 ? "\\u2028" : "\\u2029";
      i += 2;
    } else if (rest.starts_with("\ufeff")) {
      out += "\\ufeff";
      i += 2;
    } else if (rest.starts_with("\xef\xbf\xbe") || rest.starts_with("\xef\xbf\xbf")) {
      out += byte(2) == 0xbe ? "\\ufffe" : "\\uffff";
      i += 2;
    } else {
      out += json[i];
    }
  }
  return out;
}

// Whether only double quotes can say it.
bool NeedsEscapes(const std::string& text) { return Quoted(text).size() != text.size() + 2; }

bool NeedsQuotes(const std::string& text) {
  if (text.empty() || !ResolveYamlScalar(text).is_string()) return true;
  static constexpr std::string_view kIndicators = "-?:,[]{}#&*!|>'\"%@`=<";
  if (text.front() == ' ' || text.back() == ' ' || text.back() == ':') return true;
  if (kIndicators.find(text.front()) != std::string_view::npos) return true;
  if (text.find(": ") != text.npos || text.find(" #") != text.npos) return true;
  // What readers of YAML 1.1 take for booleans, sexagesimal numbers and dates.
  for (std::string_view word : {"y", "n", "yes", "no", "on", "off", "Yes", "No", "On", "Off", "Y", "N"}) {
    if (text == word) return true;
  }
  if (text.find_first_not_of("0123456789:-+_") == text.npos) return true;
  return NeedsEscapes(text);
}

std::string Scalar(const Json& value) {
  if (!value.is_string()) return value.Dump();
  const std::string& text = value.as_string();
  return NeedsQuotes(text) ? Quoted(text) : text;
}

bool IsEmpty(const Json& value) {
  return (value.is_array() && value.as_array().empty()) || (value.is_object() && value.as_object().empty());
}

// A text of several lines as a literal block, where one can say it.
bool IsBlock(const Json& value) {
  if (!value.is_string()) return false;
  const std::string& text = value.as_string();
  if (text.find('\n') == text.npos || text.front() == ' ' || text.front() == '\n') return false;
  // Line breaks, tabs, quotes and backslashes need no escape in a block.
  std::string plain;
  for (char c : text) {
    if (c != '\n' && c != '\t' && c != '"' && c != '\\') plain += c;
  }
  return !NeedsEscapes(plain);
}

void Write(const Json& value, size_t indent, bool in_list, std::string& out);

void WriteAfterKey(const Json& value, size_t indent, std::string& out) {
  if (IsEmpty(value)) {
    out += value.is_array() ? " []\n" : " {}\n";
  } else if (value.is_object() || value.is_array()) {
    out += "\n";
    Write(value, indent + 2, false, out);
  } else if (IsBlock(value)) {
    std::string text = value.as_string();
    size_t ends = 0;
    while (ends < text.size() && text[text.size() - 1 - ends] == '\n') ++ends;
    out += ends == 0 ? " |-\n" : ends == 1 ? " |\n" : " |+\n";
    if (ends > 0) text.pop_back();
    for (size_t at = 0; at <= text.size();) {
      size_t end = std::min(text.find('\n', at), text.size());
      if (end > at) out += std::string(indent + 2, ' ') + text.substr(at, end - at);
      out += "\n";
      at = end + 1;
    }
  } else {
    out += " " + Scalar(value) + "\n";
  }
}

// `in_list`: the first line goes on after "- ".
void Write(const Json& value, size_t indent, bool in_list, std::string& out) {
  const std::string margin(indent, ' ');
  if (value.is_object()) {
    std::vector<const Json::Member*> members;
    for (const Json::Member& member : value.as_object()) members.push_back(&member);
    // `name` leads the document, as in docker compose.
    std::ranges::sort(members, [&](const Json::Member* a, const Json::Member* b) {
      bool a_name = indent == 0 && a->first == "name", b_name = indent == 0 && b->first == "name";
      return a_name != b_name ? a_name : a->first < b->first;
    });
    for (const Json::Member* member : members) {
      out += (in_list ? "" : margin) + Scalar(member->first) + ":";
      in_list = false;
      WriteAfterKey(member->second, indent, out);
    }
  } else {
    for (const Json& item : value.as_array()) {
      out += (in_list ? "" : margin) + "-";
      in_list = false;
      if (!IsEmpty(item) && (item.is_object() || item.is_array())) {
        out += " ";
        Write(item, indent + 2, true, out);
      } else {
        WriteAfterKey(item, indent, out);
      }
    }
  }
}

// Sections that say nothing are left out.
bool SaysNothing(const Json& value) { return value.is_null() || IsEmpty(value); }

// Values that mean nothing, such as the image of "image: ${UNSET}", are left out, as docker compose does;
// a command of nothing is one, and so is a mapping that switches something on.
void DropEmpty(Json& section, std::initializer_list<std::string_view> kept) {
  std::vector<std::string> empty;
  for (const auto& [key, value] : section.as_object()) {
    const bool says_nothing = SaysNothing(value) || (value.is_string() && value.as_string().empty());
    if (says_nothing && !key.starts_with("x-") && std::ranges::find(kept, key) == kept.end()) empty.push_back(key);
  }
  for (const std::string& key : empty) section.Erase(key);
}

// What holds where a service says nothing, for those that are printed in their long form.
void SetDefaults(Json& service) {
  if (Json* secrets = service.Find("secrets"); secrets != nullptr && secrets->is_array()) {
    Json complete = Json::EmptyArray();
    for (Json secret : secrets->as_array()) {
      if (secret.is_object() && secret.Find("target") == nullptr) {
        secret.Set("target", "/run/secrets/" + secret.GetString("source"));
      }
      complete.Append(std::move(secret));
    }
    *secrets = std::move(complete);
  }
  Json* depends_on = service.Find("depends_on");
  if (depends_on == nullptr || !depends_on->is_object()) return;
  Json complete = Json::EmptyObject();
  for (const auto& [name, condition] : depends_on->as_object()) {
    Json entry = condition;
    if (entry.is_object() && entry.Find("required") == nullptr) entry.Set("required", true);
    complete.Set(name, std::move(entry));
  }
  *depends_on = std::move(complete);
}

}  // namespace

Result<Json> ResolvedModel(const Project& project, const std::vector<std::string>& named, bool env_files) {
  Json model = Json::EmptyObject();
  model.Set("name", project.loaded.name);
  const Json all = project.loaded.model.ToJson();
  Json services = Json::EmptyObject();
  for (const Service& service : project.services) {
    bool wanted = named.empty() || std::ranges::find(named, service.name) != named.end();
    if (!service.active || !wanted) continue;
    Json json = all.Find("services")->Find(service.name)->is_null() ? Json::EmptyObject()
                                                                    : *all.Find("services")->Find(service.name);
    if (service.build) {
      Json* build = json.Find("build");
      build->Set("context", service.build->context);
      if (build->Find("dockerfile") == nullptr && !service.build->dockerfile_inline) {
        build->Set("dockerfile", "Dockerfile");
      }
      if (Json* args = build->Find("args")) {
        *args = Json::EmptyObject();
        for (const auto& [name, value] : service.build->args) args->Set(name, value);
      }
      DropEmpty(*build, {});
    }
    SetDefaults(json);
    if (env_files && (json.Find("env_file") != nullptr || json.Find("environment") != nullptr)) {
      TRY_ASSIGN(const auto environment, EnvironmentOfService(project, service));
      Json merged = json.Find("environment") == nullptr ? Json::EmptyObject() : *json.Find("environment");
      for (const auto& [name, value] : environment) merged.Set(name, value);
      json.SetIf(!merged.as_object().empty(), "environment", merged);
      json.Erase("env_file");
    }
    DropEmpty(json, {"build", "command", "deploy", "develop", "entrypoint", "healthcheck", "logging", "networks"});
    services.Set(service.name, std::move(json));
  }
  model.Set("services", std::move(services));
  for (const auto& [key, value] : all.as_object()) {
    if (key != "services" && !SaysNothing(value)) model.Set(key, value);
  }
  return model;
}

std::string ToYaml(const Json& value) {
  if (IsEmpty(value)) return "{}\n";
  if (!value.is_object() && !value.is_array()) return Scalar(value) + "\n";
  std::string out;
  Write(value, 0, false, out);
  return out;
}

}  // namespace varve::compose
