package dev.harbour.audio;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.Reader;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Properties;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

public final class Main {
  static final String VERSION = "4.0.3";
  private static final Logger log = LoggerFactory.getLogger(Main.class);

  public static void main(String[] words) throws IOException {
    Properties settings = new Properties();
    try (Reader reader = Files.newBufferedReader(Path.of(words[0]))) {
      settings.load(reader);
    }
    Library library = new Library(Path.of(settings.getProperty("tracks")));
    Gson gson = new GsonBuilder().disableHtmlEscaping().create();
    if (words.length > 2 && words[1].equals("--find")) {
      for (Track track : library.find(words[2])) System.out.println(gson.toJson(track));
      System.out.println("audio server " + VERSION);
      return;
    }
    int port = Integer.parseInt(settings.getProperty("port"));
    HttpServer server = HttpServer.create(new InetSocketAddress(port), 16);
    server.createContext("/version", exchange -> send(exchange, 200, VERSION));
    server.createContext("/loadtracks", exchange -> {
      String query = exchange.getRequestURI().getRawQuery();
      if (query == null || !query.startsWith("identifier=")) {
        send(exchange, 400, "identifier is missing");
        return;
      }
      String words_ = URLDecoder.decode(query.substring("identifier=".length()), StandardCharsets.UTF_8);
      List<String> tracks = library.find(words_).stream().map(gson::toJson).toList();
      send(exchange, 200, "[" + String.join(",", tracks) + "]");
    });
    server.start();
    log.info("listening on port {}", port);
  }

  private static void send(HttpExchange exchange, int status, String text) throws IOException {
    byte[] body = text.getBytes(StandardCharsets.UTF_8);
    try (exchange) {
      exchange.sendResponseHeaders(status, body.length);
      exchange.getResponseBody().write(body);
    }
  }
}
