#include "compose/render.h"

#include <algorithm>

#include "base/yaml.h"

namespace varve::compose {

namespace {

bool NeedsQuotes(const std::string& text) {
  if (text.empty() || !ResolveYamlScalar(text).is_string()) return true;
  static constexpr std::string_view kIndicators = "-?:,[]{}#&*!|>'\"%@`=<";
  if (text.front() == ' ' || text.back() == ' ' || text.back() == ':') return true;
  if (kIndicators.find(text.front()) != std::string_view::npos) return true;
  if (text.find(": ") != text.npos || text.find(" #") != text.npos) return true;
  // What readers of YAML 1.1 take for booleans, sexagesimal numbers and dates.
  for (std::string_view word :
       {"y", "n", "yes", "no", "on", "off", "Yes", "No", "On", "Off", "Y", "N"}) {
    if (text == word) return true;
  }
  if (text.find_first_not_of("0123456789:-+_") == text.npos) return true;
  return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20; });
}

std::string Scalar(const Json& value) {
  if (!value.is_string()) return value.Dump();
  const std::string& text = value.as_string();
  return NeedsQuotes(text) ? Json(text).Dump() : text;
}

bool IsEmpty(const Json& value) {
  return (value.is_array() && value.as_array().empty()) ||
         (value.is_object() && value.as_object().empty());
}

// A text of several lines as a literal block, where one can say it.
bool IsBlock(const Json& value) {
  if (!value.is_string()) return false;
  const std::string& text = value.as_string();
  if (text.find('\n') == text.npos || text.front() == ' ' || text.front() == '\n') return false;
  return std::ranges::none_of(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t'; });
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

}  // namespace

Json ResolvedModel(const Project& project, const std::vector<std::string>& named) {
  Json model = Json::EmptyObject();
  model.Set("name", project.loaded.name);
  const Json all = project.loaded.model.ToJson();
  Json services = Json::EmptyObject();
  for (const Service& service : project.services) {
    bool wanted = named.empty() || std::ranges::find(named, service.name) != named.end();
    if (!service.active || !wanted) continue;
    Json json = all.Find("services")->Find(service.name)->is_null()
                    ? Json::EmptyObject()
                    : *all.Find("services")->Find(service.name);
    if (service.build) {
      Json* build = json.Find("build");
      build->Set("context", service.build->context);
      if (service.build->dockerfile.empty() && !service.build->dockerfile_inline) {
        build->Set("dockerfile", "Dockerfile");
      }
      if (Json* args = build->Find("args")) {
        *args = Json::EmptyObject();
        for (const auto& [name, value] : service.build->args) args->Set(name, value);
      }
    }
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
