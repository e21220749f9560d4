#include "compose/dependencies.h"

#include <algorithm>
#include <functional>
#include <set>

#include "base/strings.h"

namespace varve::compose {

namespace {

// `restart`: the service is started anew when the other one is.
void Add(Node& dependencies, const std::string& other, bool restart, const Place& place) {
  // With --no-interpolate a name may be a variable yet.
  if (other.empty() || other.find('$') != other.npos || dependencies.Find(other) != nullptr) return;
  Node condition = Node::Mapping(place);
  condition.Set("condition", Node::String("service_started", place));
  condition.Set("required", Node{.scalar = true, .place = place});
  if (restart) condition.Set("restart", Node{.scalar = true, .place = place});
  dependencies.Set(other, std::move(condition));
}

}  // namespace

void AddImpliedDependencies(Node& service) {
  const Node* written = service.Find("depends_on");
  Node dependencies = written != nullptr && written->is_mapping() ? *written : Node::Mapping(service.place);
  for (const char* key : {"network_mode", "ipc", "pid", "uts", "cgroup"}) {
    const Node* mode = service.Find(key);
    if (mode == nullptr || !mode->is_string()) continue;
    const std::string text = mode->Text();
    if (text.starts_with("service:")) Add(dependencies, text.substr(8), true, mode->place);
  }
  if (const Node* volumes = service.Find("volumes_from")) {
    for (const Node& item : volumes->items) {
      const std::string text = item.Text();
      if (!text.starts_with("container:")) Add(dependencies, Split(text, ':')[0], false, item.place);
    }
  }
  if (const Node* links = service.Find("links")) {
    for (const Node& item : links->items) Add(dependencies, Split(item.Text(), ':')[0], true, item.place);
  }
  if (!dependencies.members.empty()) service.Set("depends_on", std::move(dependencies));
}

Status CheckCircles(const std::vector<Service>& services) {
  std::set<const Service*> done;
  std::vector<const Service*> path;
  std::function<Status(const Service&)> visit = [&](const Service& service) -> Status {
    if (done.contains(&service)) return Ok();
    if (auto first = std::ranges::find(path, &service); first != path.end()) {
      std::string circle;
      for (auto it = first; it != path.end(); ++it) circle += (*it)->name + " -> ";
      Error error = ErrorAt(service.place, "depends_on makes a circle: " + circle + service.name);
      error.hint = "take one of them out: no service of a circle can be the first to start";
      return error;
    }
    path.push_back(&service);
    for (const std::string& name : service.depends_on) {
      auto other = std::ranges::find(services, name, &Service::name);
      if (other != services.end() && other->active) TRY(visit(*other));
    }
    path.pop_back();
    done.insert(&service);
    return Ok();
  };
  for (const Service& service : services) {
    if (service.active) TRY(visit(service));
  }
  return Ok();
}

}  // namespace varve::compose
