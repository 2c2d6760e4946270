"""The host's tables."""

import os

from sqlalchemy import JSON, ForeignKey, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker, synonym

from adapters.host.database import BodyScoreMixin, HostDatabase, SharedShapeMixin, open_database


class Base(DeclarativeBase):
    pass


class Character(Base):
    __tablename__ = "characters"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)


class ReferenceImage(SharedShapeMixin, Base):
    __tablename__ = "reference_images"

    id: Mapped[int] = mapped_column(primary_key=True)
    character_id: Mapped[int] = mapped_column(ForeignKey("characters.id"), index=True)
    image_type: Mapped[str] = mapped_column(String(32))  # face, body_front, body_side, body_back
    file_path: Mapped[str] = mapped_column(String(500))
    keypoints: Mapped[dict] = mapped_column(JSON)

    # How samebody calls what has another name here.
    reference_set = synonym("character_id")
    view = synonym("image_type")
    image = synonym("file_path")


class BodyScore(BodyScoreMixin, Base):
    __tablename__ = "body_scores"


engine = open_database(os.environ.get("DATABASE_URL", "sqlite:///host.db"))
SessionLocal = sessionmaker(engine)
host_database = HostDatabase(SessionLocal, ReferenceImage, BodyScore)
