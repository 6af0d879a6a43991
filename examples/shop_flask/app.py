"""A small shop on Flask whose background work is durable: a welcome e-mail, and the import of product images.

Needs: pip install flask inngest  (the official Python SDK; nothing of the orchestrator is imported here)
Run:   python app.py              (listens on port 5000; PORT or --port choose another)

What it would send and store, it only prints or makes up.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from datetime import timedelta

import flask
import inngest
import inngest.flask
from werkzeug.serving import make_server

# Where the server is. In production: INNGEST_DEV=0, and INNGEST_BASE_URL, INNGEST_SIGNING_KEY, INNGEST_EVENT_KEY.
os.environ.setdefault("INNGEST_DEV", "http://localhost:8288")

logger = logging.getLogger("shop")
logger.setLevel(logging.WARNING)
client = inngest.Inngest(app_id="shop", logger=logger)


@client.create_function(fn_id="welcome-email", trigger=inngest.TriggerEvent(event="shop/user.signed-up"))
def welcome_email(ctx: inngest.ContextSync) -> str:
    """Greet a new user, and send some tips a little later; a crash in between neither loses nor repeats a mail."""
    address = str(ctx.event.data["email"])
    ctx.step.run("send-welcome", send_mail, address, "Welcome to the shop")
    ctx.step.sleep("a-little-later", timedelta(seconds=5))
    ctx.step.run("send-tips", send_mail, address, "Three things to try first")
    return f"welcomed {address}"


@client.create_function(fn_id="import-product-images", trigger=inngest.TriggerEvent(event="shop/product.imported"))
def import_product_images(ctx: inngest.ContextSync) -> list[str]:
    """Copy the images of a product, resize them, and return where they are.

    With `"flaky": true` in the event's data the first attempt to resize fails, to show a retry about half a minute
    later: the copies are kept.
    """
    urls = ctx.step.run("copy-images-to-s3", copy_images, ctx.event.data["imageURLs"])
    fails = bool(ctx.event.data.get("flaky")) and ctx.attempt == 0
    return ctx.step.run("resize-images", resize_images, urls, fails)


def send_mail(address: str, subject: str) -> str:
    """Pretend to send a mail; the result is remembered as the step's output."""
    return f"to {address}: {subject}"


def copy_images(urls: object) -> list[str]:
    """Pretend to copy images to our own storage; an event is input, so its shape is checked first."""
    if not isinstance(urls, list):
        raise inngest.NonRetriableError("data.imageURLs must be a list")
    return [f"https://images.shop.example/{str(url).rsplit('/', 1)[-1]}" for url in urls]


def resize_images(urls: list[str], fails: bool) -> list[str]:
    """Pretend to make thumbnails, or to have a bad moment."""
    if fails:
        raise TimeoutError("the image service did not answer")
    return [f"{url}?width=400" for url in urls]


def create_app() -> flask.Flask:
    """The Flask app: a front page, and the endpoint through which the server calls the functions."""
    app = flask.Flask("shop")

    @app.get("/")
    def front_page() -> str:
        return "The shop is open.\n"

    inngest.flask.serve(app, client, [welcome_email, import_product_images])
    return app


def main() -> None:
    """Serve the shop on this machine until stopped."""
    parser = argparse.ArgumentParser(description="The example shop.")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "5000")))
    port = parser.parse_args().port
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server("127.0.0.1", port, create_app(), threaded=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
