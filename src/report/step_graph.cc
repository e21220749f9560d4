#include "report/step_graph.h"

#include <algorithm>
#include <map>
#include <vector>

#include "base/strings.h"
#include "report/gantt.h"
#include "report/view.h"

namespace varve::report {

namespace {

constexpr int kBoxWidth = 176, kBoxHeight = 38;
constexpr int kColumn = kBoxWidth + 36, kLine = kBoxHeight + 14;
constexpr int kLaneHead = 20, kLaneGap = 10;
constexpr size_t kChars = 21;

struct Node {
  const history::Step* step = nullptr;
  int column = 0;  // the longest way from a step without inputs
  int line = 0;    // in its lane: two steps of one column are below each other
  int x = 0, y = 0;
};

struct Lane {
  std::string stage;
  std::vector<std::vector<bool>> taken;  // by line, by column
  int top = 0;
};

class Layout {
 public:
  explicit Layout(const history::Build& build) {
    for (const history::Step& step : build.steps) {
      if (!step.internal) Place(step);
    }
    int top = 4;
    for (Lane& lane : lanes_) {
      lane.top = top;
      top += kLaneHead + static_cast<int>(lane.taken.size()) * kLine + kLaneGap;
    }
    height_ = top;
    for (auto& [index, node] : nodes_) {
      const Lane& lane = LaneOf(node.step->stage);
      node.x = 8 + node.column * kColumn;
      node.y = lane.top + kLaneHead + node.line * kLine;
      width_ = std::max(width_, node.x + kBoxWidth + 8);
    }
  }

  bool has_edges() const { return edges_ > 0; }

  std::string Draw() const {
    std::string out = fmt::format(
        "<svg class=\"graph\" role=\"img\" aria-label=\"Graph of the steps\" "
        "viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\">\n",
        width_, height_);
    for (const Lane& lane : lanes_) {
      int height = kLaneHead + static_cast<int>(lane.taken.size()) * kLine;
      out += fmt::format(
          "<rect class=\"lane\" x=\"0\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"4\"/>"
          "<text class=\"lane\" x=\"8\" y=\"{}\">{}</text>\n",
          lane.top, width_, height, lane.top + 14, HtmlEscaped(lane.stage.empty() ? "sources" : lane.stage));
    }
    for (const auto& [index, node] : nodes_) {
      for (uint32_t input : node.step->inputs) {
        auto from = nodes_.find(input);
        if (from != nodes_.end()) out += Edge(from->second, node);
      }
    }
    for (const auto& [index, node] : nodes_) out += Box(node);
    return out + "</svg>\n";
  }

 private:
  Lane& LaneOf(const std::string& stage) {
    auto lane = std::ranges::find(lanes_, stage, &Lane::stage);
    if (lane != lanes_.end()) return *lane;
    lanes_.push_back({.stage = stage});
    return lanes_.back();
  }

  // Inputs come before the steps that have them, so that their columns are known.
  void Place(const history::Step& step) {
    Node node{.step = &step};
    for (uint32_t input : step.inputs) {
      auto from = nodes_.find(input);
      if (from == nodes_.end()) continue;
      node.column = std::max(node.column, from->second.column + 1);
      ++edges_;
    }
    auto column = static_cast<size_t>(node.column);
    Lane& lane = LaneOf(step.stage);
    size_t line = 0;
    while (line < lane.taken.size() && column < lane.taken[line].size() && lane.taken[line][column]) ++line;
    if (line == lane.taken.size()) lane.taken.emplace_back();
    if (lane.taken[line].size() <= column) lane.taken[line].resize(column + 1);
    lane.taken[line][column] = true;
    node.line = static_cast<int>(line);
    nodes_[step.index] = node;
  }

  static std::string Edge(const Node& from, const Node& to) {
    int x1 = from.x + kBoxWidth, y1 = from.y + kBoxHeight / 2, x2 = to.x, y2 = to.y + kBoxHeight / 2;
    int bend = std::max(18, (x2 - x1) / 2);
    return fmt::format("<path class=\"edge\" d=\"M{} {} C{} {} {} {} {} {}\"/>\n", x1, y1, x1 + bend, y1, x2 - bend, y2,
                       x2, y2);
  }

  static std::string Box(const Node& node) {
    const std::string& name = node.step->name;
    size_t bracket = name.find("] ");
    bool has_place = name.starts_with('[') && bracket != name.npos;
    std::string place = has_place ? name.substr(1, bracket - 1) : "";
    if (size_t blank = place.rfind(' '); blank != place.npos) place = place.substr(blank + 1);
    std::string text = has_place ? name.substr(bracket + 2) : name;
    text = text.substr(0, text.find('\n'));
    std::string fate(FateName(node.step->fate));
    if (node.step->wall.count() > 0) fate += " " + FormatDuration(node.step->wall);
    return fmt::format(
        "<g class=\"box\"><title>{}</title><rect class=\"box\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" "
        "rx=\"4\"/><rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"5\" height=\"{}\" rx=\"2\"/>"
        "<text x=\"{}\" y=\"{}\">{}</text><text class=\"dim\" x=\"{}\" y=\"{}\">{}</text></g>\n",
        HtmlEscaped(name + "\n" + fate + (node.step->why.empty() ? "" : "\n" + node.step->why)), node.x, node.y,
        kBoxWidth, kBoxHeight, FateClass(*node.step), node.x, node.y, kBoxHeight, node.x + 11, node.y + 16,
        HtmlEscaped(Shortened(text, kChars)), node.x + 11, node.y + 31,
        HtmlEscaped(place.empty() ? fate : place + " · " + fate));
  }

  std::map<uint32_t, Node> nodes_;
  std::vector<Lane> lanes_;
  size_t edges_ = 0;
  int width_ = 0, height_ = 0;
};

}  // namespace

std::string StepGraph(const history::Build& build) {
  Layout layout(build);
  return layout.has_edges() ? layout.Draw() : "";
}

}  // namespace varve::report
