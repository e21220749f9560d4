#include "compose/project.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "compose/render.h"

namespace varve::compose {
namespace {

namespace fs = std::filesystem;

// Files in a folder of their own, and what a project of them says.
class Compose : public testing::Test {
 protected:
  Compose() {
    char name[] = "/tmp/compose-test-XXXXXX";
    directory_ = mkdtemp(name);
    options_.working_directory = directory_ + "/app";
    fs::create_directories(options_.working_directory);
  }
  ~Compose() override { fs::remove_all(directory_); }

  void File(const std::string& path, std::string_view text) {
    fs::path file = fs::path(options_.working_directory) / path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  Result<Project> Make(const std::vector<std::string>& profiles = {}, const std::vector<std::string>& named = {}) {
    auto loaded = Load(options_);
    if (!loaded) return Error(loaded.error());
    return MakeProject(std::move(*loaded), profiles, named);
  }

  // The services of `config`, with $D for the working directory; or the error and its hint.
  std::string Services() {
    auto project = Make();
    if (!project) return Shown(project.error().ToString());
    auto model = ResolvedModel(*project, {}, true);
    if (!model) return "ERROR " + model.error().ToString();
    return Shown(ToYaml(*model->Find("services")));
  }

  std::string Shown(std::string text) const {
    for (size_t at; (at = text.find(options_.working_directory)) != text.npos;) {
      text.replace(at, options_.working_directory.size(), "$D");
    }
    return text;
  }

  std::string directory_;
  LoadOptions options_;
};

TEST_F(Compose, ShortFormsAreWrittenOut) {
  File("compose.yaml", R"(
services:
  web:
    build: ./web
  api:
    build:
      args: [A=1, B=x=y, MISSING]
      labels: {l: 1.5, m: true}
      extra_hosts: ["h:10.0.0.1,10.0.0.2", "v6=[::1]"]
      ssh: [default, k=./key]
      additional_contexts: [lib=../lib, img=docker-image://busybox, other=service:web]
)");
  EXPECT_EQ(Services(), R"(api:
  build:
    additional_contexts:
      img: docker-image://busybox
      lib: )" + directory_ + R"(/lib
      other: service:web
    args:
      A: "1"
      B: x=y
    context: $D
    dockerfile: Dockerfile
    extra_hosts:
      h:
        - 10.0.0.1
        - 10.0.0.2
      v6:
        - "::1"
    labels:
      l: "1.5"
      m: "true"
    ssh:
      default: null
      k: $D/key
web:
  build:
    context: $D/web
    dockerfile: Dockerfile
)");
}

TEST_F(Compose, EnvFilesAreReadBelowTheEnvironment) {
  File("one.env", "A=1\nB=${A}b\nC=file\nHOSTED\n");
  File("two.env", "A=two\nD=${B} $HOSTED\n");
  File("raw.env", "# none\nR='$A' # all of it\n");
  File("compose.yaml", R"(
services:
  a:
    image: a
    environment: {C: own, E: , HOSTED: }
    env_file: [one.env, two.env, {path: none.env, required: false}, {path: raw.env, format: raw}]
)");
  options_.environment = {{"HOSTED", "h"}};
  EXPECT_EQ(Services(), R"(a:
  environment:
    A: two
    B: 1b
    C: own
    D: 1b h
    E: null
    HOSTED: h
    R: "'$A' # all of it"
  image: a
)");
  File("compose.yaml", "services: {a: {image: a, env_file: none.env}}");
  EXPECT_TRUE(Services().starts_with("ERROR env_file of service a: ")) << Services();
}

TEST_F(Compose, VariablesThatAreOnlyNamedHaveTheValuesOfTheProject) {
  File(".env", "FROM_FILE=f\nBOTH=f\n");
  File("compose.yaml", R"(
services:
  a:
    build: {args: [FROM_FILE]}
    environment: [FROM_FILE, BOTH, NOWHERE]
)");
  options_.environment = {{"BOTH", "p"}};
  EXPECT_EQ(Services(), R"(a:
  build:
    args:
      FROM_FILE: f
    context: $D
    dockerfile: Dockerfile
  environment:
    BOTH: p
    FROM_FILE: f
    NOWHERE: null
)");
}

TEST_F(Compose, ABuildWithoutContextIsInTheDirectoryOfTheIncludedProject) {
  File("part/compose.yaml", "services: {a: {build: {target: t}}}\n");
  File("compose.yaml",
       "include: [{path: part/compose.yaml, project_directory: other}]\nservices: {b: {build: {target: t}}}\n");
  EXPECT_EQ(Services(), R"(a:
  build:
    context: $D/other
    dockerfile: Dockerfile
    target: t
b:
  build:
    context: $D
    dockerfile: Dockerfile
    target: t
)");
}

TEST_F(Compose, SecretsAreInRunSecretsUnlessSaid) {
  File("compose.yaml", R"(
services: {a: {image: a, secrets: [one, {source: two, target: other}]}}
secrets: {one: {environment: ONE}, two: {environment: TWO}}
)");
  EXPECT_EQ(Services(), R"(a:
  image: a
  secrets:
    - source: one
      target: /run/secrets/one
    - source: two
      target: other
)");
}

TEST_F(Compose, NumbersAreArgumentsAsGoReadsAndWritesThem) {
  File("compose.yaml",
       "services:\n  a:\n    build:\n      args: {MODE: 0755, ID: 1_000, BIG: 1000000.0, NUMBER: 123456.50, SMALL: "
       "0.00001, TEXT: '0755',"
       " HUGE: 18446744073709551615, NONE: .nan, END: -.inf}\n");
  auto project = Make();
  ASSERT_TRUE(project) << project.error().message;
  const Pairs expected = {{"MODE", "493"},
                          {"ID", "1000"},
                          {"BIG", "1e+06"},
                          {"NUMBER", "123456.5"},
                          {"SMALL", "1e-05"},
                          {"TEXT", "0755"},
                          {"HUGE", "18446744073709551615"},
                          {"NONE", "NaN"},
                          {"END", "-Inf"}};
  EXPECT_EQ(project->services[0].build->args, expected);
}

TEST_F(Compose, LaterFilesMergeOntoEarlierOnes) {
  File("a.yaml", R"(
services:
  s:
    image: one
    command: [a, b]
    build: {context: ., args: {A: 1, B: 2}, tags: [t1], platforms: [linux/amd64]}
    volumes: ["./x:/data", "./y:/keep"]
    ulimits: {nofile: {soft: 1, hard: 2}}
    environment: [X=1]
)");
  File("b.yaml", R"(
services:
  s:
    image: two
    command: [c]
    build: {args: [B=3, C=4], tags: [t1, t2], platforms: [linux/arm64]}
    volumes: ["./z:/data"]
    ulimits: {nofile: 5}
    environment: {X: 2, Y: 3}
)");
  options_.files = {"a.yaml", "b.yaml"};
  EXPECT_EQ(Services(), R"(s:
  build:
    args:
      A: "1"
      B: "3"
      C: "4"
    context: $D
    dockerfile: Dockerfile
    platforms:
      - linux/amd64
      - linux/arm64
    tags:
      - t1
      - t2
  command:
    - c
  environment:
    X: "2"
    "Y": "3"
  image: two
  ulimits:
    nofile: 5
  volumes:
    - $D/z:/data
    - $D/y:/keep
)");
}

TEST_F(Compose, ResetRemovesAndOverrideReplaces) {
  File("compose.yaml", R"(
services:
  s: {image: i, build: {context: ., args: {A: 1, B: 2}, tags: [a]}, ports: ["1:1"], expose: ["1"]}
  gone: {image: g}
)");
  File("compose.override.yaml", R"(
services:
  s:
    ports: !reset []
    expose: !override ["2"]
    build: {args: {A: !reset null}, tags: !override [b]}
  gone: !reset null
)");
  EXPECT_EQ(Services(), R"(s:
  build:
    args:
      B: "2"
    context: $D
    dockerfile: Dockerfile
    tags:
      - b
  expose:
    - "2"
  image: i
)");
}

TEST_F(Compose, ExtendsReadsPathsFromTheOtherFile) {
  File("common/base.yaml", R"(
services:
  root: {build: {context: ./ctx, args: {A: root}}}
  base: {extends: root, build: {args: {B: base}}, environment: [E=1]}
)");
  File("compose.yaml", R"(
services:
  web:
    extends: {service: base, file: common/base.yaml}
    build: {args: {A: web}}
  two: {extends: web, image: two}
)");
  EXPECT_EQ(Services(), R"(two:
  build:
    args:
      A: web
      B: base
    context: $D/common/ctx
    dockerfile: Dockerfile
  environment:
    E: "1"
  image: two
web:
  build:
    args:
      A: web
      B: base
    context: $D/common/ctx
    dockerfile: Dockerfile
  environment:
    E: "1"
)");
}

TEST_F(Compose, IncludeHasItsOwnDirectoryAndEnvironment) {
  File("part/.env", "TAG=part\nOURS=inner\n");
  File("part/compose.yaml", "services: {db: {image: \"db:$TAG-$OURS\", build: .}}\n");
  File("compose.yaml", "include: [part/compose.yaml]\nservices: {web: {build: .}}\n");
  options_.environment["OURS"] = "outer";
  EXPECT_EQ(Services(), R"(db:
  build:
    context: $D/part
    dockerfile: Dockerfile
  image: db:part-outer
web:
  build:
    context: $D
    dockerfile: Dockerfile
)");
}

TEST(Render, LineBreaksThatOnlyYamlKnowsAreEscaped) {
  Json model = Json::EmptyObject();
  model.Set("a", "x\u0085y\nz").Set("b", "C:\\path \"q\"").Set("c", "a \"q\"\nb\\\n");
  EXPECT_EQ(ToYaml(model), "a: \"x\\u0085y\\nz\"\nb: \"C:\\\\path \\\"q\\\"\"\nc: |\n  a \"q\"\n  b\\\n");
}

TEST_F(Compose, AnchorsAndMergeKeys) {
  File("compose.yaml", R"(
x-build: &build {context: ., args: &args {A: 1, B: 2}}
services:
  one: {build: {<<: *build, target: t, args: {<<: *args, B: 3}}}
)");
  EXPECT_EQ(Services(), R"(one:
  build:
    args:
      A: "1"
      B: "3"
    context: $D
    dockerfile: Dockerfile
    target: t
)");
}

TEST_F(Compose, ProcessEnvironmentWinsOverEnvFile) {
  File(".env", "A=file\nB=file\n");
  File("compose.yaml", "services: {s: {image: \"$A/$B\", build: {args: [A, NOT]}}}\n");
  options_.environment["A"] = "process";
  EXPECT_EQ(Services(),
            "s:\n  build:\n    args:\n      A: process\n    context: $D\n"
            "    dockerfile: Dockerfile\n  image: process/file\n");
}

TEST_F(Compose, ProjectNameByPrecedence) {
  File("compose.yaml", "services: {s: {image: i}}\n");
  EXPECT_EQ(Make()->loaded.name, "app");
  File("compose.yaml", "name: ${N:-From_File}\nservices: {s: {image: \"$COMPOSE_PROJECT_NAME\"}}\n");
  EXPECT_EQ(Make()->loaded.name, "from_file");
  EXPECT_EQ(Make()->services[0].image, "from_file");
  options_.environment["COMPOSE_PROJECT_NAME"] = "env";
  EXPECT_EQ(Make()->loaded.name, "env");
  options_.project_name = "flag";
  EXPECT_EQ(Make()->loaded.name, "flag");
  options_.project_name = "Bad Name";
  EXPECT_EQ(Services(),
            "invalid project name \"Bad Name\"\n"
            "lower case letters, digits, - and _, beginning with a letter or digit: badname");
}

TEST_F(Compose, ProfilesDecideWhatIsActive) {
  File("compose.yaml", R"(
services:
  always: {build: .}
  debug: {build: ., profiles: [debug]}
  test: {build: ., profiles: [test, ci]}
)");
  auto active = [](const Project& project) {
    std::string names;
    for (const Service& service : project.services) names += service.active ? service.name + " " : "";
    return names;
  };
  EXPECT_EQ(active(*Make()), "always ");
  EXPECT_EQ(active(*Make({"ci"})), "always test ");
  EXPECT_EQ(active(*Make({"*"})), "always debug test ");
  EXPECT_EQ(active(*Make({}, {"debug"})), "always debug ");
  options_.environment["COMPOSE_PROFILES"] = "debug,ci";
  EXPECT_EQ(active(*Make()), "always debug test ");
}

TEST_F(Compose, ConfigSaysWhatADependencyLeavesOut) {
  File("compose.yaml", R"(
services:
  a: {image: a, depends_on: {b: {condition: service_healthy}, c: {condition: service_started, required: false}}}
  b: {image: b}
  c: {image: c}
)");
  File("compose.override.yaml", "services: {a: {depends_on: {c: {condition: service_healthy}}}}\n");
  auto project = Make();
  ASSERT_TRUE(project) << project.error().ToString();
  Json model = *ResolvedModel(*project, {}, true);
  const Json* depends_on = model.Find("services")->Find("a")->Find("depends_on");
  ASSERT_NE(depends_on, nullptr);
  EXPECT_EQ(depends_on->Dump(), R"({"b":{"condition":"service_healthy","required":true},)"
                                R"("c":{"condition":"service_healthy","required":false}})");
}

TEST_F(Compose, BuildOrderFollowsAdditionalContexts) {
  File("compose.yaml", R"(
services:
  a: {build: {additional_contexts: {x: "service:z"}}, depends_on: [d]}
  d: {build: .}
  z: {build: ., profiles: [never]}
)");
  auto names = [this](const std::vector<std::string>& named, bool dependencies) {
    auto project = Make({}, named);
    std::string out;
    auto services = ServicesToBuild(*project, named, dependencies);
    for (const Service* service : *services) out += service->name + " ";
    return out;
  };
  EXPECT_EQ(names({}, false), "z a d ");
  EXPECT_EQ(names({"a"}, false), "z a ");
  EXPECT_EQ(names({"a"}, true), "d z a ");
}

TEST_F(Compose, ErrorsSayWhereAndWhatWasMeant) {
  auto error_of = [this](std::string_view text) {
    File("compose.yaml", text);
    return Services();
  };
  EXPECT_EQ(error_of("services:\n  s:\n    build:\n      contxt: .\n"),
            "compose.yaml:4:7: build of service s has no key \"contxt\"\ndid you mean context?");
  EXPECT_EQ(error_of("services:\n  s: {imag: x}\n"),
            "compose.yaml:2:7: service s has no key \"imag\"\ndid you mean image?");
  EXPECT_EQ(error_of("servces: {}\n"),
            "compose.yaml:1:1: a Compose file has no key \"servces\"\ndid you mean services?");
  EXPECT_EQ(error_of("services:\n  s: {image: a}\n  s: {image: b}\n"),
            "compose.yaml:3:3: mapping key \"s\" stands twice");
  EXPECT_EQ(error_of("services:\n  s: {image: \"${A\"}\n").substr(0, 45),
            "compose.yaml:2:14: invalid interpolation form");
  EXPECT_EQ(error_of("services:\n  s: {ports: [\"1\"]}\n"),
            "compose.yaml:2:3: service s has neither an image nor a build context\n"
            "give it image: or build:");
  EXPECT_EQ(error_of("services:\n  s: {build: {dockerfile: D, dockerfile_inline: FROM x}}\n"),
            "compose.yaml:2:49: service s: dockerfile and dockerfile_inline exclude each other");
  EXPECT_EQ(error_of("services:\n  web: {extends: bse}\n  base: {image: i}\n"),
            "compose.yaml:2:18: service web extends bse, which compose.yaml does not have\n"
            "did you mean base?");
  EXPECT_EQ(error_of("services:\n  a: {extends: b}\n  b: {extends: a}\n"),
            "compose.yaml:2:6: extends makes a circle: service a extends itself");
  EXPECT_EQ(error_of("services:\n  a: {build: {secrets: [s]}}\n"),
            "compose.yaml:2:25: service a uses the secret s, which is not declared\n"
            "add it to the top-level secrets: s: {file: PATH}");
  EXPECT_EQ(error_of("services:\n  a: {build: {additional_contexts: {b: 'service:b'}}}\n"),
            "compose.yaml:2:3: service a: additional_contexts.b names service:b, which is not defined");
  EXPECT_EQ(error_of("services:\n  a: {build: {tags: x}}\n"),
            "compose.yaml:2:21: build.tags must be a list\nwrite [x]");
  EXPECT_EQ(error_of("services:\n  a: {image: i, profiles: p}\n"),
            "compose.yaml:2:27: profiles must be a list\nwrite [p]");
}

TEST_F(Compose, ServicesThatWaitForEachOtherAreRefused) {
  auto error_of = [this](std::string_view text) {
    File("compose.yaml", text);
    return Services();
  };
  const std::string hint = "\ntake one of them out: no service of a circle can be the first to start";
  EXPECT_EQ(error_of("services:\n"
                     "  a: {image: i, depends_on: [b]}\n"
                     "  b: {image: i, depends_on: [c]}\n"
                     "  c: {image: i, depends_on: {b: {condition: service_healthy}}}\n"),
            "compose.yaml:3:3: depends_on makes a circle: b -> c -> b" + hint);
  EXPECT_EQ(error_of("services:\n  a: {image: i, depends_on: [a]}\n"),
            "compose.yaml:2:3: depends_on makes a circle: a -> a" + hint);
  EXPECT_EQ(error_of("services:\n  a: {image: i, links: [b]}\n  b: {image: i, pid: 'service:a'}\n"),
            "compose.yaml:2:3: depends_on makes a circle: a -> b -> a" + hint);
  // Two ways to one service are none, and who is not active waits for nobody.
  EXPECT_TRUE(error_of("services:\n"
                       "  a: {image: i, depends_on: [b, c]}\n"
                       "  b: {image: i, depends_on: [c]}\n"
                       "  c: {image: i, depends_on: {off: {condition: service_started, required: false}}}\n"
                       "  off: {image: i, depends_on: [c], profiles: [p]}\n")
                  .starts_with("a:\n"));
}

TEST_F(Compose, OtherKeysImplyDependencies) {
  File("compose.yaml", R"(
services:
  web:
    image: i
    depends_on: {db: {condition: service_healthy}}
    links: ["db:database", cache]
    volumes_from: ["data:ro", "container:old"]
    network_mode: service:vpn
  cache: {image: i}
  data: {image: i}
  db: {image: i}
  vpn: {image: i}
)");
  const std::string shown = Services();
  EXPECT_EQ(shown.substr(shown.find("web:\n")), R"(web:
  depends_on:
    cache:
      condition: service_started
      required: true
      restart: true
    data:
      condition: service_started
      required: true
    db:
      condition: service_healthy
      required: true
    vpn:
      condition: service_started
      required: true
      restart: true
  image: i
  links:
    - db:database
    - cache
  network_mode: service:vpn
  volumes_from:
    - data:ro
    - container:old
)");
}

TEST_F(Compose, ConfigLeavesOutWhatSaysNothing) {
  File("compose.yaml", R"(
services:
  web:
    build: {context: ., args: [UNSET], tags: , target: ""}
    image: ${UNSET}
    environment:
    ports: []
    command: []
    networks: {default: }
    x-mine: ""
)");
  EXPECT_EQ(Services(), R"(web:
  build:
    context: $D
    dockerfile: Dockerfile
  command: []
  networks:
    default: null
  x-mine: ""
)");
}

TEST_F(Compose, FileIsFoundUpwardAndNamedByTheEnvironment) {
  File("compose.yaml", "services: {up: {image: i}}\n");
  File("other.yaml", "services: {other: {image: i}}\n");
  File("deep/er/x", "");
  std::string top = options_.working_directory;
  options_.working_directory += "/deep/er";
  EXPECT_EQ(Make()->services[0].name, "up");
  EXPECT_EQ(Make()->loaded.directory, top);
  options_.working_directory = top;
  options_.environment["COMPOSE_FILE"] = "other.yaml:compose.yaml";
  EXPECT_EQ(Make()->services.size(), 2u);
  options_.environment.clear();
  File(".env", "COMPOSE_FILE=other.yaml\n");
  EXPECT_EQ(Make()->services[0].name, "other");
}

}  // namespace
}  // namespace varve::compose
