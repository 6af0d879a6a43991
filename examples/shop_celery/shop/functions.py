"""Durable functions: the same two as in examples/shop_flask, run by the workers that run the tasks."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from orchestrator import AsyncContext, Context, Event, NonRetriable
from shop.celery import durable
from shop.tasks import resize


@durable.function(Event("shop/user.signed-up"))
def welcome_email(ctx: Context) -> str:
    """Greet a new user, and send some tips a little later; a crash in between neither loses nor repeats a mail."""
    address = str(ctx.event.data["email"])
    ctx.step.run("send-welcome", send_mail, address, "Welcome to the shop")
    ctx.step.sleep("a-little-later", timedelta(seconds=5))
    ctx.step.run("send-tips", send_mail, address, "Three things to try first")
    return f"welcomed {address}"


@durable.function(Event("shop/product.imported"))
def import_product_images(ctx: Context) -> list[str]:
    """Copy the images of a product, let the team's own task resize them, and return where they are."""
    urls = ctx.step.run("copy-images-to-s3", copy_images, ctx.event.data["imageURLs"])
    small: list[str] = ctx.step.task("resize-images", resize.s(urls, width=400))
    return small


@durable.function(Event("shop/report.asked"))
async def report(ctx: AsyncContext) -> dict[str, int]:
    """Ask two slow places at the same time; whatever fails is tried again alone."""
    sales, stock = await asyncio.gather(ctx.step.run("sales", count, "sales"), ctx.step.run("stock", count, "stock"))
    return {"sales": sales, "stock": stock}


def send_mail(address: str, subject: str) -> str:
    """Pretend to send a mail; the result is remembered as the step's output."""
    return f"to {address}: {subject}"


def copy_images(urls: object) -> list[str]:
    """Pretend to copy images to our own storage; an event is input, so its shape is checked first."""
    if not isinstance(urls, list):
        raise NonRetriable("data.imageURLs must be a list")
    return [f"https://images.shop.example/{str(url).rsplit('/', 1)[-1]}" for url in urls]


async def count(what: str) -> int:
    """Pretend to count something far away."""
    await asyncio.sleep(0.05)
    return len(what)
