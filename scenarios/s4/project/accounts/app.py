"""Customers, in a relational database."""

import os

from flask import Flask, jsonify
from sqlalchemy import Column, Integer, String, create_engine
from sqlalchemy.orm import Session, declarative_base

Base = declarative_base()


class Account(Base):
    __tablename__ = "accounts"
    id = Column(Integer, primary_key=True)
    name = Column(String, nullable=False)


engine = create_engine(os.environ.get("DATABASE_URL", "sqlite://"))
Base.metadata.create_all(engine)
app = Flask(__name__)


@app.get("/accounts")
def accounts():
    with Session(engine) as session:
        return jsonify([{"id": account.id, "name": account.name} for account in session.query(Account)])
